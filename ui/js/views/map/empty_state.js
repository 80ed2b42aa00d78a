// @ts-check
// What to do before there is anything to see.
import { byId, partsOf, setHidden, setText } from "../drawing/dom.js";

/** @typedef {import("../../state/fleet.js").FleetState} FleetState */
/** @typedef {import("../../net/feed.js").FeedStatus} FeedStatus */

export class EmptyState {
  #root = byId("empty");
  #parts = partsOf(this.#root);

  /** @param {FleetState} state @param {() => FeedStatus} status */
  constructor(state, status) {
    this.state = state;
    this.status = status;
  }

  paint() {
    const empty = this.state.vehicles.size === 0;
    setHidden(this.#root, !empty);
    if (!empty) return;
    const ready = this.status().phase === "live" && this.state.snapshotLoaded;
    setHidden(this.#parts.command, !ready);
    setText(this.#parts.title, ready ? "No events yet" : "Connecting to the fleet");
    setText(this.#parts.text, ready ? this.#advice() : this.status().reason);
  }

  #advice() {
    return "Start the simulator with the command below, or publish telemetry to the Kafka topic vehicle-telemetry. Vehicles appear here by themselves.";
  }
}
