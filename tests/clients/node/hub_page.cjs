// The hub program in a page of another origin, on the bundles that browsers load.
const SCRIPTS = [
  "node_modules/@microsoft/signalr/dist/browser/signalr.js",
  "node_modules/@microsoft/signalr-protocol-msgpack/dist/browser/signalr-protocol-msgpack.js",
  "hub_program.js",
];

module.exports = async ({ page, serve, tell, config }) => {
  page.on("websocket", (socket) => tell("socket", { query: [...new URL(socket.url()).searchParams.keys()] }));
  await page.goto(await serve(SCRIPTS));
  tell("page", { origin: new URL(page.url()).origin });
  page
    .evaluate(async (config) => {
      window.commands = await hubProgram({ signalR, msgpack: signalR.protocols.msgpack, config, tell });
    }, config)
    .catch((error) => tell("crash", { message: String(error) }));
  const names = ["token", "send", "invoke", "stream", "stop"];
  const command = (name) => (more) => page.evaluate(([name, more]) => commands[name](more), [name, more]);
  return Object.fromEntries(names.map((name) => [name, command(name)]));
};
