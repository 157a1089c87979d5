// A program on the unmodified @microsoft/signalr, the same in Node and in a browser. It tells what happens, and gives the
// commands that it can be given. Configuration: url, token?, options (withUrl), messagepack, reconnect (delays or true),
// stateful, methods, since.
async function hubProgram({ signalR, msgpack, config, tell }) {
  let token = config.token;
  let last = null;
  const options = { ...(config.options ?? {}) };
  if (token !== undefined && token !== null) options.accessTokenFactory = () => token;
  let builder = new signalR.HubConnectionBuilder().configureLogging(signalR.LogLevel.None).withUrl(config.url, options);
  if (config.messagepack) builder = builder.withHubProtocol(new msgpack.MessagePackHubProtocol());
  if (config.reconnect) builder = builder.withAutomaticReconnect(config.reconnect === true ? undefined : config.reconnect);
  if (config.stateful) builder = builder.withStatefulReconnect();
  const connection = builder.build();

  connection.on("ReceiveMessage", (...args) => {
    if (args.length === 1 && typeof args[0] === "string") last = JSON.parse(args[0]).id;
    tell("message", { args, types: args.map((arg) => typeof arg) });
  });
  for (const [name, value] of Object.entries(config.methods ?? {})) connection.on(name, () => value);
  connection.onreconnecting((error) => {
    tell("reconnecting", { message: error ? String(error.message) : null });
    if (config.since && last !== null) connection.baseUrl = `${config.url}&since=${encodeURIComponent(last)}`;
  });
  connection.onreconnected((id) => tell("reconnected", { id }));
  connection.onclose((error) => tell("close", { message: error ? String(error.message) : null }));

  try {
    await connection.start();
    tell("connected", { id: connection.connectionId ?? null });
  } catch (error) {
    tell("refused", { message: String(error.message) });
    return null;
  }

  return {
    token: ({ value }) => { token = value; },
    send: ({ target, args }) => connection.send(target, ...args),
    invoke: async ({ target, args }) => {
      try {
        tell("result", { target, value: (await connection.invoke(target, ...args)) ?? null });
      } catch (error) {
        tell("failed", { target, message: String(error.message) });
      }
    },
    stream: ({ target, args, stop }) => {
      const items = [];
      const subscription = connection.stream(target, ...args).subscribe({
        next: (item) => {
          items.push(item);
          tell("item", { item });
          if (items.length === stop) subscription.dispose();
        },
        complete: () => tell("complete", { items }),
        error: (error) => tell("failed", { target, message: String(error.message) }),
      });
    },
    stop: () => connection.stop(),
  };
}

if (typeof module !== "undefined") module.exports = { hubProgram };
