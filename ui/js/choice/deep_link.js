// @ts-check
// The chosen vehicle in the page's address, as #vehicle=ID: links can be shared and the back button closes.

/** @returns {string|null} */
export function linkedVehicle() {
  return new URLSearchParams(location.hash.slice(1)).get("vehicle") || null;
}

/** @param {string|null} vehicleId */
export function link(vehicleId) {
  if (vehicleId === linkedVehicle()) return;
  const hash = vehicleId === null ? "" : `#vehicle=${encodeURIComponent(vehicleId)}`;
  history.pushState(null, "", `${location.pathname}${location.search}${hash}`);
}

/** @param {(vehicleId: string|null) => void} onChange */
export function followLinks(onChange) {
  const follow = () => onChange(linkedVehicle());
  addEventListener("popstate", follow);
  addEventListener("hashchange", follow);
}
