// The hub program in Node: tells as lines of JSON what happens, does what it reads. Its configuration is argument 1.
const signalR = require("@microsoft/signalr");
const msgpack = require("@microsoft/signalr-protocol-msgpack");
const readline = require("readline");
const { hubProgram } = require("./hub_program.js");

const tell = (what, more = {}) => process.stdout.write(JSON.stringify({ what, ...more }) + "\n");
process.on("uncaughtException", (error) => {
  tell("crash", { message: String(error) });
  process.exit(1);
});

hubProgram({ signalR, msgpack, config: JSON.parse(process.argv[2]), tell }).then((commands) => {
  if (commands === null) process.exit(0);
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const { do: command, ...more } = JSON.parse(line);
    commands[command](more);
  });
});
