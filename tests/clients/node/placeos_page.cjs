// The unmodified @placeos/ts-client in a page of doorstream's own origin, as an application that is served beside it.
//
// The page stores `config.storage`, calls the client's `setup` with
// `config.setup`, and tells when it comes online. `config.credentials` are typed in wherever somebody has to sign in.
const fs = require("fs");
const http = require("http");
const net = require("net");
const path = require("path");

const BUNDLE = fs.readFileSync(path.join(__dirname, "node_modules/@placeos/ts-client/dist/index.umd.js"));
const HTML = '<!doctype html><title>app</title><script src="/app/client.js"></script>';

function start({ setup, storage }) {
  const client = (window.client = window.cloud_uploads); // the name that the bundle gives itself
  for (const [name, value] of Object.entries(storage || {})) localStorage.setItem(name, value);
  client.onlineState().subscribe((online) => tell("online", { online }));
  client.status().subscribe((connected) => tell("status", { connected }));
  client.debug_events.subscribe((line) => tell("line", line));
  client.setup({ redirect_uri: `${location.origin}/app/`, scope: "public", ...setup }).then(
    () => tell("set up", { token: client.token() }),
    (error) => tell("failed", { message: String(error) }),
  );
}

const IN_PAGE = {
  bind: ({ sys, mod, index, name }) => {
    const variable = client.getModule(sys, mod, index).variable(name);
    variable.listen().subscribe((value) => value !== undefined && tell("value", { name, value }));
    variable.bind();
  },
  unbind: ({ sys, mod, index, name }) => client.getModule(sys, mod, index).variable(name).unbind(),
  execute: ({ sys, mod, index, name, args }) =>
    client
      .getModule(sys, mod, index)
      .execute(name, args)
      .then((value) => tell("answer", { name, value }))
      .catch((error) => tell("refusal", { name, error })),
  debug: (options) => client.debug(options).then(() => tell("debugging", {})),
  ignore: (options) => client.ignore(options).then(() => tell("ignored", {})),
  systems: (query) => client.querySystems(query).subscribe(({ total, data }) => tell("systems", { total, names: data.map((each) => each.name) })),
  functions: ({ sys, mod, index }) => client.functionList(sys, mod, index).subscribe((found) => tell("functions", { names: Object.keys(found) })),
};

// An application is served beside doorstream by one server: what is below /app/ is its own, the rest is passed on.
function serveBeside(target) {
  const { hostname, port } = new URL(target);
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, target);
    if (pathname.startsWith("/app/")) {
      const [type, body] = pathname.endsWith(".js") ? ["text/javascript", BUNDLE] : ["text/html", HTML];
      response.writeHead(200, { "Content-Type": type }).end(body);
      return;
    }
    const { method, url: path, headers } = request;
    const passed = http.request({ hostname, port, method, path, headers }, (answer) => {
      answer.pipe(response.writeHead(answer.statusCode, answer.headers));
    });
    passed.on("error", () => response.writeHead(502).end());
    request.pipe(passed);
  });
  server.on("upgrade", ({ method, url, rawHeaders }, socket, rest) => {
    const lines = [`${method} ${url} HTTP/1.1`];
    for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
    const passed = net.connect(port, hostname, () => passed.write(lines.join("\r\n") + "\r\n\r\n" + rest));
    for (const [one, other] of [[socket, passed], [passed, socket]]) {
      one.pipe(other).on("error", () => one.destroy());
      one.on("close", () => other.destroy());
    }
  });
  server.unref();
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

module.exports = async ({ page, tell, config }) => {
  const origin = await serveBeside(config.url);
  page.on("websocket", (socket) => tell("socket", { query: [...new URL(socket.url()).searchParams.keys()] }));
  page.on("load", async () => {
    const here = new URL(page.url());
    tell("page", { path: here.pathname });
    if (here.pathname === "/auth/login" && config.credentials) {
      await page.fill("#username", config.credentials.username);
      await page.fill("#password", config.credentials.password);
      await page.click("button");
    } else if (here.pathname === "/app/") {
      await page.evaluate(start, config).catch((error) => tell("left", { message: String(error) }));
    }
  });
  await page.goto(`${origin}/app/`);
  const command = (name) => (more) => page.evaluate(`void (${IN_PAGE[name]})(${JSON.stringify(more)})`);
  return Object.fromEntries(Object.keys(IN_PAGE).map((name) => [name, command(name)]));
};
