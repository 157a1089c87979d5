// A headless Chromium with one page: tells as lines of JSON what happens there, does what it reads, ends with its input.
// Arguments: the browser's program; a driver (a file here) and its configuration.
//
// A driver exports an async function of { page, serve, tell, config } and gives its commands. `page` is Playwright's,
// `serve(files)` gives the address of an empty page with those scripts, whose origin is its own and not doorstream's.
// What a page's scripts pass to `tell(what, more)` is told as well, and so are their uncaught exceptions ("crash").
const { chromium } = require("playwright-core");
const fs = require("fs");
const http = require("http");
const path = require("path");
const readline = require("readline");

const [executablePath, driver, config] = process.argv.slice(2);
const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const tell = (what, more = {}) => process.stdout.write(JSON.stringify({ what, ...more }) + "\n");

function serve(files) {
  const scripts = files.map((_, number) => `<script src="/${number}.js"></script>`).join("");
  const server = http.createServer((request, response) => {
    const script = files[parseInt(request.url.slice(1), 10)];
    const body = script ? fs.readFileSync(path.join(__dirname, script)) : `<!doctype html><title>page</title>${scripts}`;
    response.writeHead(200, { "Content-Type": `text/${script ? "javascript" : "html"}; charset=utf-8` }).end(body);
  });
  server.unref();
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}/`));
  });
}

async function main() {
  const browser = await chromium.launch({ executablePath, headless: true, chromiumSandbox: false, args: FLAGS });
  const page = await browser.newPage();
  page.on("pageerror", (error) => tell("crash", { message: String(error) }));
  await page.exposeFunction("tell", tell);
  tell("browser", { version: browser.version() });
  const input = readline.createInterface({ input: process.stdin });
  const commands = require(`./${driver}`)({ page, serve, tell, config: JSON.parse(config) });
  for await (const line of input) {
    const { do: command, ...more } = JSON.parse(line);
    await (await commands)[command](more);
  }
  await browser.close();
}

main().catch((error) => {
  tell("crash", { message: String(error.stack) });
  process.exit(1);
});
