// How STAC Browser is built for maap-stac-orchestration: its options that do not depend on where it runs, and how items
// get their pictures from the tiler. Where the API and the tiler are is said at run time, in config.js of the
// server (../configuration.py), whose values replace those of the same name here.
//
// vue.config.js reads this file in Node.js too, so stac-js is only asked for inside of functions.

const TILES = "WebMercatorQuad";
/** Pixels of the longer side of a preview. */
const PREVIEW_SIZE = 512;
/** Names of renders that people expect to see first, as in ../../catalog/renders.py. */
const FIRST = ["true-color", "true_color", "truecolor", "natural-color", "natural_color", "color", "rgb", "visual"];
/** What the render extension and the tiler call alike. */
const SAME_NAME = ["expression", "nodata", "colormap_name", "color_formula", "resampling"];

/** The tiler's address without a slash at the end; null where there is none. */
function tiler() {
  return window.STAC_BROWSER_CONFIG.tilerUrl || null;
}

/** A number of the render extension, which may be written "nan". */
function text(value) {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/**
 * The tiler's parameters for one entry of `renders`.
 *
 * @param {Object} render an entry of the render extension's `renders`
 * @returns {URLSearchParams} its assets, rescaling and colours
 */
function renderParameters(render) {
  const parameters = new URLSearchParams();
  const bands = Array.isArray(render.bidx) && render.bidx.length > 0 ? `|bidx=${render.bidx.join(",")}` : "";
  for (const asset of render.assets || []) {
    parameters.append("assets", asset + bands);
  }
  for (const range of render.rescale || []) {
    parameters.append("rescale", range.join(","));
  }
  if (render.colormap) {
    parameters.append("colormap", JSON.stringify(render.colormap));
  }
  for (const name of SAME_NAME) {
    if (render[name] !== undefined && render[name] !== null) {
      parameters.append(name, text(render[name]));
    }
  }
  return parameters;
}

/** The way to show a collection that people should see first; null where it tells of none. */
function firstRender(collection) {
  const renders = Object.entries((collection && collection.renders) || {});
  const usable = new Map(renders.filter(([, one]) => one && Array.isArray(one.assets) && one.assets.length > 0));
  const name = [...FIRST, ...usable.keys()].find((one) => usable.has(one));
  return name === undefined ? null : usable.get(name);
}

function collectionPath(id) {
  return `/collections/${encodeURIComponent(id)}`;
}

function itemPath(item) {
  return `${collectionPath(item.collection)}/items/${encodeURIComponent(item.id)}`;
}

/** The collection of an item as it was loaded already, from whichever address; null where it was not. */
function loadedCollection(item, state) {
  const found = Object.values(state.database).find((one) => one.type === "Collection" && one.id === item.collection);
  return found || null;
}

/**
 * Whether an item is being opened, rather than one of a list. While it is on its way, a note without a type stands at its
 * address.
 */
function isOpened(item, state) {
  const standing = state.database[item.getAbsoluteUrl()];
  return Boolean(standing) && !standing.type;
}

const asked = new Map();

/** The collection of an item, asked of the API once. */
function askedCollection(id) {
  if (!asked.has(id)) {
    const address = window.STAC_BROWSER_CONFIG.catalogUrl.replace(/\/$/, "") + collectionPath(id);
    const answer = fetch(address).then((response) => (response.ok ? response.json() : null));
    asked.set(id, answer);
    answer.catch(() => asked.delete(id));
  }
  return asked.get(id);
}

function addLink(stac, link) {
  const { Link } = require("stac-js");
  stac.links = [...stac.links, new Link(link, stac)];
}

function hasRaster(item) {
  return Object.values(item.assets || {}).some((asset) => asset.isGeoTIFF());
}

/**
 * Gives an item its pictures: tiles for its own page, a preview for lists and for the map of its collection.
 *
 * How it is shown stands in its collection. Where that is not known yet, the address of the tiles is completed when a map
 * asks for it, and there is no preview.
 */
function addPictures(item, state) {
  if (typeof item.collection !== "string" || !hasRaster(item)) {
    return;
  }
  const collection = loadedCollection(item, state);
  const render = firstRender(collection);
  if (isOpened(item, state) && !item.getLinkWithRel("xyz") && (render || !collection)) {
    const tiles = `${tiler()}${itemPath(item)}/tiles/${TILES}/{z}/{x}/{y}`;
    addLink(item, {
      rel: "xyz",
      type: "image/png",
      title: (render && render.title) || "Image",
      href: render ? `${tiles}?${renderParameters(render)}` : tiles,
      ...(render ? {} : { "maap:collection": item.collection }),
    });
  }
  const box = item.getBoundingBox();
  // A box across the antimeridian has its west above its east, which is no picture that a map could place.
  if (render && box && box[0] < box[2] && box[1] < box[3] && item.getThumbnails().length === 0) {
    const parameters = renderParameters(render);
    parameters.append("max_size", PREVIEW_SIZE);
    addLink(item, {
      rel: "preview",
      type: "image/png",
      title: "Preview",
      href: `${tiler()}${itemPath(item)}/bbox/${box.join(",")}.png?${parameters}`,
      // The picture fills the item's box of degrees, whatever the projection of its assets is.
      "proj:code": "EPSG:4326",
    });
  }
}

/** The grid of web maps, cut to an item's box, since the tiler has an error for tiles beyond it. */
async function tileGridOf(item) {
  const box = item.getBoundingBox();
  if (!box || box[0] > box[2]) {
    return undefined;
  }
  const [{ default: TileGrid }, { createXYZ }, { transformExtent }] = await Promise.all([
    import("ol/tilegrid/TileGrid.js"),
    import("ol/tilegrid.js"),
    import("ol/proj.js"),
  ]);
  const whole = createXYZ({ maxZoom: 24 });
  return new TileGrid({
    origin: whole.getOrigin(0),
    resolutions: whole.getResolutions(),
    tileSize: whole.getTileSize(0),
    extent: transformExtent(box, "EPSG:4326", "EPSG:3857"),
  });
}

/** How the tiler stretches one asset to what can be seen. */
function assetParameters(asset, collection) {
  const key = asset.getKey();
  const renders = Object.values((collection && collection.renders) || {});
  const render = renders.find((each) => (each.assets || []).includes(key));
  const ranges = (render && render.rescale) || [];
  // One range is for all assets; more are in the assets' order.
  const range = ranges[ranges.length > 1 ? render.assets.indexOf(key) : 0];
  const alone = Boolean(render) && render.assets.length === 1;
  return renderParameters({
    assets: [key],
    bidx: alone ? render.bidx : undefined,
    rescale: alone ? ranges : range ? [range] : [],
    nodata: render && render.nodata,
  });
}

module.exports = {
  catalogUrl: null,
  catalogTitle: "MAAP STAC",
  catalogImage: null,
  allowExternalAccess: false,
  allowedDomains: [],
  detectLocaleFromBrowser: true,
  storeLocale: true,
  locale: "en",
  fallbackLocale: "en",
  supportedLocales: ["de", "ar", "es", "en", "fr", "it", "ro", "ja", "pt", "id", "pl"],
  apiCatalogPriority: null,
  useTileLayerAsFallback: false,
  displayGeoTiffByDefault: false,
  displayPreview: true,
  displayOverview: true,
  pathPrefix: "",
  historyMode: "history",
  cardViewMode: "cards",
  cardViewSort: "asc",
  showKeywordsInItemCards: false,
  showKeywordsInCatalogCards: false,
  showThumbnailsAsAssets: false,
  searchResultsPerPage: 24,
  itemsPerPage: 24,
  collectionsPerPage: 48,
  maxEntriesPerPage: 1000,
  defaultThumbnailSize: [256, 256],
  crossOriginMedia: "anonymous",
  requestHeaders: {},
  requestQueryParameters: {},
  socialSharing: ["email"],
  authConfig: null,
  crs: {},
  footerLinks: null,
  tilerUrl: null,

  /** Gives items links to their pictures, and the root its users instead of all collections at once. */
  preprocessSTAC: (stac, state) => {
    if (stac.isCatalog() && stac.getBrowserPath() === "/" && stac.getLinksWithRels(["child"]).length > 0) {
      stac["stac_browser"] = { apiCatalogPriority: "childs", ...stac["stac_browser"] };
    }
    if (tiler() && stac.isItem()) {
      addPictures(stac, state);
    }
    return stac;
  },

  /** Asks for an item's tiles where it lies, as its collection is shown where that was not known before. */
  getMapSourceOptions: async (type, options, reference) => {
    if (!tiler() || typeof options.url !== "string" || !options.url.startsWith(`${tiler()}/`)) {
      return options;
    }
    const item = reference.getContext();
    const within = { ...options, crossOrigin: "anonymous", tileGrid: await tileGridOf(item) };
    if (!reference["maap:collection"]) {
      return within;
    }
    const render = firstRender(await askedCollection(reference["maap:collection"]));
    if (!render) {
      return { ...within, url: undefined };
    }
    const url = `${options.url}?${renderParameters(render)}`;
    Object.assign(reference, { href: url, "maap:collection": undefined });
    return { ...within, url };
  },

  /** The tiles of one asset, for its button "Show on map". */
  buildTileUrlTemplate: async (asset) => {
    const item = asset.getContext();
    if (!item.isItem()) {
      return undefined;
    }
    const collection = await askedCollection(item.collection);
    return `${tiler()}${itemPath(item)}/tiles/${TILES}/{z}/{x}/{y}?${assetParameters(asset, collection)}`;
  },
};
