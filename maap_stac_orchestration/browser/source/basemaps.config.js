// The base maps: land and borders of Natural Earth (public domain), which are part of the build and need no network, and
// OpenStreetMap, which is only asked when somebody chooses it.

const SEA = "#d5e3ea";
const LAND = "#f5f3ee";
const BORDER = "#b9b4a7";
const GRID = "rgba(60, 80, 90, 0.22)";
const WORDS = "#5a6b73";

async function landAndGrid() {
  const [
    { default: Group },
    { default: VectorLayer },
    { default: Graticule },
    { default: VectorSource },
    { default: TopoJSON },
    { default: Fill },
    { default: Stroke },
    { default: Style },
    { default: Text },
    { default: world },
  ] = await Promise.all([
    import("ol/layer/Group.js"),
    import("ol/layer/Vector.js"),
    import("ol/layer/Graticule.js"),
    import("ol/source/Vector.js"),
    import("ol/format/TopoJSON.js"),
    import("ol/style/Fill.js"),
    import("ol/style/Stroke.js"),
    import("ol/style/Style.js"),
    import("ol/style/Text.js"),
    import("world-atlas/countries-50m.json"),
  ]);
  const source = new VectorSource({
    attributions: "Natural Earth",
    loader: (extent, resolution, projection) => {
      const format = new TopoJSON({ layers: ["countries"] });
      source.addFeatures(
        format.readFeatures(world, { dataProjection: "EPSG:4326", featureProjection: projection })
      );
    },
  });
  const land = new VectorLayer({
    source,
    background: SEA,
    style: new Style({ fill: new Fill({ color: LAND }), stroke: new Stroke({ color: BORDER, width: 1 }) }),
  });
  const label = (align, baseline) =>
    new Text({ font: "11px sans-serif", textAlign: align, textBaseline: baseline, fill: new Fill({ color: WORDS }) });
  const grid = new Graticule({
    strokeStyle: new Stroke({ color: GRID, width: 1 }),
    showLabels: true,
    wrapX: false,
    targetSize: 120,
    lonLabelPosition: 0,
    lonLabelStyle: label("center", "bottom"),
    latLabelStyle: label("end", "bottom"),
  });
  return new Group({ layers: [land, grid] });
}

/**
 * The base maps of a page.
 *
 * @returns {Array.<Object>} the options of each; the first is shown at first
 */
export default function configureBasemap() {
  return [
    {
      title: "Land and grid",
      projection: "EPSG:3857",
      layerCreated: async () => {
        const layer = await landAndGrid();
        layer.setProperties({ title: "Land and grid", base: true });
        return layer;
      },
    },
    {
      url: "https://tile.openstreetmap.org/{z}/{x}/{y}.png",
      is: "XYZ",
      title: "OpenStreetMap (needs the internet)",
      attributions: '© <a href="https://www.openstreetmap.org/copyright" target="_blank">OpenStreetMap</a> contributors',
      projection: "EPSG:3857",
    },
  ];
}
