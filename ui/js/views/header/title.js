// @ts-check
// The tab's title says how many vehicles are anomalous, for those who look at another tab.

/** @typedef {import("../../state/fleet.js").FleetState} FleetState */

const NAME = document.title;

/** @param {FleetState} state @param {number} nowS */
export function paintTitle(state, nowS) {
  const anomalous = state.vehicles.countAnomalous(nowS);
  const title = anomalous > 0 ? `(${anomalous}) ${NAME}` : NAME;
  if (document.title !== title) document.title = title;
}
