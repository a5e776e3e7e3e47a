// Draws a map of footprints where the page has a picture of them: coastlines, a grid, the items, and their mosaic where
// there is a tiler. Follows the page when that changes. Without this script the picture and the table tell the same.
// All that is drawn comes from this server, but for tiles of the tiler and of a base map that an operator has set.
"use strict";

(() => {
  // Beyond it Web Mercator has no place.
  const ENDS = 85.06;
  // Of the demo's mosaics, 30 m, the finest tiles; finer ones are made from these.
  const FINEST_TILES = 14;
  // Items that are told of at a place where many lie on one another.
  const MOST_TOLD = 8;

  let shown = null; // the map that is on the page

  // ---- What is drawn below everything ---------------------------------------------------------------------------

  let land = null; // asked for once

  // From TopoJSON, whose rings are made of arcs that are told as steps.
  function outlines(topology) {
    const { scale, translate } = topology.transform;
    const arcs = topology.arcs.map((arc) => {
      let x = 0;
      let y = 0;
      return arc.map(([dx, dy]) => [(x += dx) * scale[0] + translate[0], (y += dy) * scale[1] + translate[1]]);
    });
    const ring = (numbers) =>
      numbers.flatMap((number, position) => {
        const arc = number < 0 ? [...arcs[~number]].reverse() : arcs[number];
        return position ? arc.slice(1) : arc;
      });
    return topology.objects.land.geometries.flatMap((one) =>
      (one.type === "Polygon" ? [one.arcs] : one.arcs).map((rings) => rings.map(ring)),
    );
  }

  async function addLand(map, address) {
    land ??= fetch(address).then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.status))));
    const polygons = outlines(await land);
    for (const turn of [-360, 0, 360]) {
      const turned = polygons.map((rings) => rings.map((ring) => ring.map(([x, y]) => [y, x + turn])));
      L.polygon(turned, { className: "land", pane: "land", interactive: false, smoothFactor: 0.8 }).addTo(map);
    }
  }

  // Meridians and parallels at round numbers, at most some five of each, with their names at the edges.
  function addGrid(map) {
    const group = L.layerGroup().addTo(map);
    const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 45];

    function named(degrees, positive, negative) {
      const size = Math.round(Math.abs(degrees) * 100) / 100;
      return size === 0 || size === 180 ? `${size}°` : `${size}° ${degrees > 0 ? positive : negative}`;
    }

    function label(place, text, kind) {
      const icon = L.divIcon({ className: `grid-label ${kind}`, iconSize: null });
      const marker = L.marker(place, { icon, interactive: false, keyboard: false, pane: "grid" }).addTo(group);
      marker.getElement().textContent = text;
    }

    function marks(low, high, step) {
      const found = [];
      for (let n = Math.ceil(low / step); n * step <= high; n += 1) found.push(Math.round(n * step * 100) / 100);
      return found;
    }

    function draw() {
      group.clearLayers();
      const view = map.getBounds();
      const [west, east] = [view.getWest(), view.getEast()];
      const [south, north] = [Math.max(view.getSouth(), -ENDS), Math.min(view.getNorth(), ENDS)];
      const step = STEPS.find((one) => (east - west) / one <= 6) ?? 60;
      const options = { className: "graticule", pane: "grid", interactive: false };
      const size = map.getSize();
      for (const x of marks(west, east, step)) {
        L.polyline([[south, x], [north, x]], options).addTo(group);
        const at = map.latLngToContainerPoint([south, x]);
        const around = ((((x + 180) % 360) + 360) % 360) - 180;
        label(map.containerPointToLatLng([at.x, Math.min(at.y, size.y)]), named(around, "E", "W"), "meridian");
      }
      for (const y of marks(south, north, step)) {
        L.polyline([[y, west], [y, east]], options).addTo(group);
        label([y, west], named(y, "N", "S"), "parallel");
      }
    }

    map.on("moveend resize", draw);
    draw();
  }

  // ---- The items --------------------------------------------------------------------------------------------------

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  // What there is at a place: each item with where to find it. Made of text, never of markup.
  function telling(features) {
    const box = element("div", "", { class: "telling" });
    if (features.length > 1) box.append(element("p", `${features.length} items here`, { class: "small" }));
    for (const { properties } of features.slice(0, MOST_TOLD)) {
      const one = element("div", "", { class: "one" });
      const name = element("p");
      name.append(element("strong", properties.title));
      if (features.length === 1 && properties.preview) {
        one.append(element("img", "", { src: properties.preview, alt: "", width: "128", height: "128" }));
      }
      const links = element("p", "", { class: "links" });
      links.append(element("a", "STAC API", { href: properties.api }));
      if (properties.browser) links.append(" ", element("a", "Browser", { href: properties.browser }));
      const about = [properties.time, properties.result].filter(Boolean).join(", ");
      one.append(name, element("p", about, { class: "small" }), links);
      box.append(one);
    }
    if (features.length > MOST_TOLD) box.append(element("p", `and ${features.length - MOST_TOLD} more`, { class: "small" }));
    return box;
  }

  function rings(geometry) {
    switch (geometry.type) {
      case "Polygon": return [geometry.coordinates];
      case "MultiPolygon": return geometry.coordinates;
      case "GeometryCollection": return geometry.geometries.flatMap(rings);
      default: return [];
    }
  }

  function inside([x, y], ring) {
    let odd = false;
    for (let n = 0, before = ring.length - 1; n < ring.length; before = n, n += 1) {
      const [ax, ay] = ring[n];
      const [bx, by] = ring[before];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  }

  function covers(geometry, place) {
    return rings(geometry).some(([outer, ...holes]) => inside(place, outer) && !holes.some((one) => inside(place, one)));
  }

  // ---- A map -------------------------------------------------------------------------------------------------------

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.place = element("div", "", { class: "chart", "data-kept": "", role: "region", "aria-label": "Map of the items" });
      this.note = element("p", "", { class: "small map-note", "data-kept": "", role: "status" });
      this.note.hidden = true;
      this.mosaics = new Map();
      this.byItem = new Map();
      this.document = null;
      this.tag = null;
    }

    // Draws it once there are footprints to draw; until then the picture stays.
    async begin() {
      const found = await this.ask();
      if (this.map || !this.figure.isConnected || !found?.view || found.view[0] > ENDS || found.view[2] < -ENDS) return;
      this.figure.append(this.place, this.note);
      const map = (this.map = L.map(this.place, {
        maxZoom: 18,
        scrollWheelZoom: false, // until somebody is at it: the page scrolls
        attributionControl: false,
        zoomAnimation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
        fadeAnimation: false,
        inertia: false,
      }));
      for (const name of ["land", "basemap", "grid"]) map.createPane(name);
      L.control.scale({ imperial: false }).addTo(map);
      const sources = L.control.attribution({ prefix: false }).addTo(map);
      sources.addAttribution("Coastlines: Natural Earth");
      map.on("focus", () => map.scrollWheelZoom.enable());
      map.on("blur", () => map.scrollWheelZoom.disable());
      // Tiles that lie a turn further east or west are the same ones.
      const { basemap, basemapSource } = this.figure.dataset;
      if (basemap) {
        const named = element("span", basemapSource).innerHTML;
        L.tileLayer(basemap, { pane: "basemap", attribution: named, referrerPolicy: "origin" }).addTo(map);
      }
      this.view = L.latLngBounds([found.view[0], found.view[1]], [found.view[2], found.view[3]]);
      this.fit();
      addGrid(map);
      this.draw(found);
      this.follow();
      addLand(map, this.figure.dataset.land).catch(() => this.tell("The coastlines could not be read."));
      this.figure.addEventListener("change", () => this.follow());
    }

    fit() {
      this.map.fitBounds(this.view, { maxZoom: 11, padding: [24, 24], animate: false });
    }

    async ask() {
      const address = this.figure.dataset.footprints;
      const headers = { Accept: "application/geo+json" };
      if (this.tag && this.document === address) headers["If-None-Match"] = this.tag;
      try {
        const answer = await fetch(address, { headers });
        if (answer.status === 304) return null;
        if (!answer.ok) throw new Error(answer.status);
        const found = await answer.json();
        // The page may have gone on to another month.
        if (address !== this.figure.dataset.footprints) return null;
        this.document = address;
        this.tag = answer.headers.get("ETag");
        this.tell("");
        return found;
      } catch {
        // Its note stands beside the map; where there is none yet, the picture says the same as it would.
        this.tell("The footprints could not be read. They are asked for again when the page changes.");
        return null;
      }
    }

    tell(words) {
      this.note.hidden = !words;
      if (this.note.textContent !== words) this.note.textContent = words;
    }

    draw(found) {
      this.items?.remove();
      this.byItem.clear();
      this.marked = null;
      const turned = ([x, y]) => L.latLng(Math.max(-ENDS, Math.min(ENDS, y)), x < found.cut - 1e-6 ? x + 360 : x);
      this.items = L.geoJSON(found, {
        coordsToLatLng: turned,
        pointToLayer: (feature, place) => L.circleMarker(place, { radius: 5 }),
        style: (feature) => ({ className: `footprint ${feature.properties.result ?? ""}`.trim(), smoothFactor: 0.5 }),
        onEachFeature: (feature, layer) => this.byItem.set(feature.id, layer),
      }).addTo(this.map);
      this.features = found.features;
      this.cut = found.cut;
      this.items.on("click", (event) => this.tellOf(event));
      this.view = L.latLngBounds([found.view[0], found.view[1]], [found.view[2], found.view[3]]);
    }

    tellOf(event) {
      const x = event.latlng.lng;
      const place = [this.cut > -180 && x > 180 ? x - 360 : x, event.latlng.lat];
      const clicked = event.propagatedFrom?.feature ?? event.layer?.feature;
      const there = this.features.filter((one) => one === clicked || covers(one.geometry, place));
      L.popup({ maxHeight: 260, minWidth: 200 }).setLatLng(event.latlng).setContent(telling(there)).openOn(this.map);
    }

    // Mosaics as the page names them, each under its box to tick.
    follow() {
      const wanted = new Map();
      for (const box of this.figure.querySelectorAll("input[data-tiles]")) if (box.checked) wanted.set(box.dataset.tiles, box);
      for (const [tiles, layer] of this.mosaics) {
        if (wanted.has(tiles)) continue;
        layer.remove();
        this.mosaics.delete(tiles);
      }
      for (const [tiles, box] of wanted) if (!this.mosaics.has(tiles)) this.mosaics.set(tiles, this.mosaic(tiles, box));
      this.place.classList.toggle("with-mosaic", this.mosaics.size > 0);
      if (!this.mosaics.size && this.troubled) this.trouble(false);
    }

    mosaic(tiles, box) {
      const chart = this;
      const Tiles = L.TileLayer.extend({
        // A tile in which nothing lies would be answered with nothing.
        createTile(place, done) {
          const size = this.getTileSize();
          const corners = [place.scaleBy(size), place.add([1, 1]).scaleBy(size)].map((one) => chart.map.unproject(one, place.z));
          if (!("onlyFootprints" in box.dataset) || chart.anyIn(L.latLngBounds(corners))) {
            return L.TileLayer.prototype.createTile.call(this, place, done);
          }
          const empty = element("img", "", { alt: "" });
          setTimeout(done, 0, null, empty);
          return empty;
        },
      });
      const layer = new Tiles(tiles, { bounds: this.view, maxNativeZoom: FINEST_TILES, className: "mosaic", updateWhenZooming: false });
      let came = 0;
      let failed = 0;
      const making = element("span", "being made …", { class: "small", "data-kept": "", "aria-hidden": "true" });
      layer.on("loading", () => {
        came = failed = 0;
        box.parentElement.append(making);
      });
      layer.on("remove", () => making.remove());
      layer.on("tileload", ({ tile }) => (came += tile.src ? 1 : 0));
      layer.on("tileerror", () => (failed += 1));
      layer.on("load", () => {
        making.remove();
        this.trouble(failed > 0 && came === 0);
      });
      return layer.addTo(this.map);
    }

    trouble(any) {
      this.troubled = any;
      this.tell(any ? "No tile of the mosaic came: the tiler does not answer, or it has no picture of this place." : "");
    }

    anyIn(bounds) {
      return [...this.byItem.values()].some((one) => bounds.intersects(one.getBounds?.() ?? L.latLngBounds([one.getLatLng()])));
    }

    mark(row) {
      const layer = row ? this.byItem.get(row.dataset.item) : null;
      if (layer === this.marked) return;
      this.marked?.getElement?.()?.classList.remove("marked");
      this.marked = layer;
      layer?.getElement?.()?.classList.add("marked");
      layer?.bringToFront?.();
    }

    // The page has changed.
    async changed() {
      if (!this.map) return this.begin();
      const other = this.document !== this.figure.dataset.footprints;
      const found = await this.ask();
      if (shown !== this) return undefined;
      if (found?.view) {
        this.draw(found);
        if (other || !this.map.getBounds().intersects(this.view)) {
          this.map.closePopup();
          this.fit();
        }
      }
      // After the footprints: they tell where there are tiles.
      this.follow();
      return undefined;
    }

    end() {
      this.map?.remove();
    }
  }

  function look() {
    const figure = document.getElementById("where");
    if (shown && shown.figure !== figure) {
      shown.end();
      shown = null;
    }
    if (!figure) return;
    if (shown) {
      shown.changed();
      return;
    }
    shown = new Chart(figure);
    shown.begin();
  }

  for (const name of ["mouseover", "focusin"]) {
    document.addEventListener(name, (event) => shown?.map && shown.mark(event.target.closest?.("[data-item]") ?? null));
  }
  document.addEventListener("page-changed", look);
  look();
})();
