// @ts-check
// The chosen vehicle in the page's address, as #vehicleId=ID: links can be shared and the back button closes.

/** @returns {string|null} */
export function linkedVehicle() {
  const hash = new URLSearchParams(location.hash.slice(1));
  return hash.get("vehicleId") || hash.get("vehicle") || null; // the second in links of earlier versions
}

/** @param {string|null} vehicleId */
export function link(vehicleId) {
  if (vehicleId === linkedVehicle()) return;
  const hash = vehicleId === null ? "" : `#vehicleId=${encodeURIComponent(vehicleId)}`;
  history.pushState(null, "", `${location.pathname}${location.search}${hash}`);
}

/** @param {(vehicleId: string|null) => void} onChange */
export function followLinks(onChange) {
  const follow = () => onChange(linkedVehicle());
  addEventListener("popstate", follow);
  addEventListener("hashchange", follow);
}
