// socket.io as its documentation shows it: rooms, one emit for each event, nothing stored, nobody authenticated.
//
// Two ways in, as for every server of this benchmark:
//   POST /events           one event as JSON or an array of them; answered with 202 once emitted
//   the control port       every byte that arrives is one event, emitted by the server itself (the live path alone)
//
// The first line of standard output is {"port", "control_port"}.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { Server } from "socket.io";

const sample = JSON.parse(readFileSync(process.argv[2], "utf8"));

function emit(event) {
  io.to(event.topic).emit(event.topic, event);
}

function ingest(request, response) {
  if (request.method !== "POST" || request.url !== "/events") {
    response.writeHead(404).end();
    return;
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = JSON.parse(Buffer.concat(chunks).toString());
    const events = Array.isArray(body) ? body : [body];
    events.forEach(emit);
    const answer = JSON.stringify({ accepted: events.length });
    response.writeHead(202, { "Content-Type": "application/json", "Content-Length": answer.length }).end(answer);
  });
}

const http = createServer(ingest);
const io = new Server(http);
io.on("connection", (socket) => {
  socket.on("subscribeIsolated", ({ topics }, acknowledge) => {
    socket.join(topics);
    acknowledge({ ok: true });
  });
});

const control = createTcpServer({ noDelay: true }, (connection) => {
  connection.on("data", (bytes) => {
    for (let i = 0; i < bytes.length; i++) emit(sample);
  });
  connection.on("error", () => connection.destroy());
});

http.listen(0, "127.0.0.1", 4096, () => {
  control.listen(0, "127.0.0.1", () => {
    console.log(JSON.stringify({ port: http.address().port, control_port: control.address().port }));
  });
});
