"""An endpoint that does nothing, on the framework that doorstream uses: what answering 304 costs at the least.

The first line of standard output is ``{"port", "targets"}``.
"""

import asyncio
import json

import uvicorn
import uvloop
from fastapi import FastAPI, Response

app = FastAPI()


@app.get("/empty")
async def empty() -> Response:
    return Response(status_code=304)


async def main() -> None:
    config = uvicorn.Config(app, port=0, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "targets": ["/empty"]}), flush=True)
    await serving


if __name__ == "__main__":
    uvloop.run(main())
