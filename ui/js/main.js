// @ts-check
// Builds the page's parts and connects them: feed → state → views. The only module that knows all the others.
import { Choice } from "./choice/choice.js";
import { Api, ApiError } from "./net/api.js";
import { Feed } from "./net/feed.js";
import { Liveness } from "./net/liveness.js";
import { poll } from "./net/poller.js";
import { FleetState } from "./state/fleet.js";
import { Details } from "./views/details/details.js";
import { Painter } from "./views/drawing/painter.js";
import { Palette } from "./views/drawing/palette.js";
import { FiguresView } from "./views/figures/figures_view.js";
import { ConnectionView } from "./views/header/connection.js";
import { SearchBox } from "./views/header/search_box.js";
import { SignIn } from "./views/header/sign_in.js";
import { themeToggle } from "./views/header/theme.js";
import { paintTitle } from "./views/header/title.js";
import { EpisodeList, MOST_CLOSED, MOST_OPEN } from "./views/lists/episode_list.js";
import { EventTable } from "./views/lists/event_table.js";
import { EmptyState } from "./views/map/empty_state.js";
import { MapView } from "./views/map/map_view.js";
import { StaleBanner } from "./views/map/stale.js";
import { PipelineStrip } from "./views/pipeline/pipeline_strip.js";

const SNAPSHOT_VEHICLES = 5000;
const PIPELINE_EVERY_MS = 1000; // as often as the gateway asks Kafka
const SNAPSHOT_AGAIN_MS = 2000;
const EPISODES_EVERY_MS = 1500; // so that with the answer's time an anomaly stands here within two seconds
const FIGURES_EVERY_MS = 500;
const LISTS_EVERY_MS = 500;
const DETAILS_EVERY_MS = 250;
const TITLE_EVERY_MS = 1000;

const base = document.baseURI;
const socketUrl = new URL("ws/telemetry?batch=true", base);
socketUrl.protocol = socketUrl.protocol.replace("http", "ws");

const nowS = () => Date.now() / 1000;
const api = new Api(base);
const state = new FleetState();
const painter = new Painter();
const palette = new Palette();
const choice = new Choice(state, api);
api.onClockSkew = (/** @type {number} */ aheadS) => (state.clockSkewS = aheadS);

async function loadSnapshot() {
  const vehicles = await api.vehicles(SNAPSHOT_VEHICLES).catch(() => null);
  if (vehicles) state.applySnapshot(vehicles, nowS());
  else if (feed.status.phase === "live") setTimeout(loadSnapshot, SNAPSHOT_AGAIN_MS);
  painter.request();
}

/** Asked with every connection: another model may have other channels. Without an answer the page keeps what it has. */
async function loadChannels() {
  const channels = await api.channels().catch(() => null);
  if (channels) state.loadChannels(channels);
  painter.request();
}

const signIn = new SignIn(api, () => location.reload());
let seesEveryTenant = false; // the pipeline counts all events: only who sees all of them can tell that some are missing
async function checkSession() {
  const session = await signIn.check();
  if (!session) return;
  seesEveryTenant = session.tenant === null;
  [state.user, state.mayAct] = [session.name, session.mayAct];
}

const liveness = new Liveness(
  async () => {
    try {
      const { scored } = await api.pipeline(4000);
      return { reachable: true, scored: seesEveryTenant && typeof scored === "number" ? scored : null };
    } catch (error) {
      return { reachable: /** @type {ApiError} */ (error).status > 0, scored: null };
    }
  },
  (reason) => feed.cut(reason),
);

const feed = new Feed(socketUrl.href, {
  open: (url) => new WebSocket(url),
  nowMs: Date.now,
  random: Math.random,
  setTimer: (run, ms) => setTimeout(run, ms),
  clearTimer: (timer) => clearTimeout(timer),
  onEvents: (events) => {
    liveness.frame(Date.now());
    state.ingest(events, nowS());
    painter.request();
  },
  onStatus: ({ phase }) => {
    if (phase === "live") {
      liveness.opened(Date.now());
      void loadSnapshot();
      void loadChannels();
      void choice.refresh();
    } else liveness.closed();
    void checkSession();
    painter.request();
  },
});

const choose = (/** @type {string} */ vehicleId) => choice.open(vehicleId);
const status = () => feed.status;

const connection = new ConnectionView(status, () => state.lastEventS, () => feed.retryNow());
painter.add((now) => connection.paint(now));
const empty = new EmptyState(state, status);
painter.add(() => empty.paint());
const stale = new StaleBanner(status, () => state.lastEventS);
painter.add((now) => stale.paint(now), () => TITLE_EVERY_MS);
const figures = new FiguresView(state, palette, () => paintFigures());
const paintFigures = painter.add((now) => figures.paint(now), () => FIGURES_EVERY_MS);
const map = new MapView(state, palette, choose, () => paintMap());
const paintMap = painter.add((now) => map.paint(now), () => map.everyMs());
const episodes = new EpisodeList(state, choose, () => paintEpisodes());
const paintEpisodes = painter.add(() => episodes.paint(), () => LISTS_EVERY_MS);
const table = new EventTable(state, choose, () => paintTable());
const paintTable = painter.add(() => table.paint(), () => LISTS_EVERY_MS);
const act = {
  close: () => choice.close(),
  locate: (/** @type {string} */ vehicleId) => map.locate(vehicleId),
  onEpisode: (/** @type {string} */ episodeId, /** @type {Record<string, unknown>} */ what) => choice.act(episodeId, what),
};
const details = new Details(state, palette, act, () => paintDetails());
const paintDetails = painter.add(() => details.paint(), () => DETAILS_EVERY_MS);
painter.add((now) => paintTitle(state, now), () => TITLE_EVERY_MS);
new SearchBox(state.vehicles, choose);

choice.onOpen = (/** @type {boolean} */ byHand) => details.opened(byHand);
choice.onChange = () => painter.repaintAll();
themeToggle(() => {
  palette.forget();
  painter.repaintAll();
});

const strip = new PipelineStrip(() => nowS() + state.clockSkewS);
poll({
  ask: () => api.pipeline(),
  onAnswer: (pipeline) => strip.show(pipeline),
  onError: (error) => strip.fail(error),
  everyMs: PIPELINE_EVERY_MS,
});

poll({
  ask: () =>
    Promise.all([
      api.episodes({ state: "open", limit: MOST_OPEN }),
      api.episodes({ state: "closed", limit: MOST_CLOSED }),
      choice.refreshEpisodes(),
    ]),
  onAnswer: ([open, closed]) => {
    state.episodes.load(open, closed);
    painter.request();
  },
  onError: () => undefined, // the pipeline strip says what is wrong
  everyMs: EPISODES_EVERY_MS,
});

setInterval(() => void liveness.check(Date.now()), 1000);
const suspect = () => void liveness.check(Date.now(), true);
addEventListener("online", () => {
  suspect();
  feed.retryNow();
});
addEventListener("offline", suspect);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  suspect();
  feed.retryNow();
});

painter.start();
choice.start();
feed.start();
