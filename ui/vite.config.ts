import { defineConfig } from "vite"

// What is built is committed inside the Python package, so a build must give the same bytes everywhere: no dates, no
// paths, names from the content alone. `npm run dev` hands everything but the page itself to a server that runs.
const server = "http://127.0.0.1:8080"

export default defineConfig({
  base: "/",
  publicDir: "public",
  build: {
    outDir: "../src/doorstream/dashboard/static",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    sourcemap: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    license: { fileName: "licenses.md" },
    chunkSizeWarningLimit: 200,
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/v1", "/socket.io", "/oauth2", "/connect", "/eventLogs", "/readyz", "/docs"].map((path) => [path, { target: server, ws: true }]),
    ),
  },
})
