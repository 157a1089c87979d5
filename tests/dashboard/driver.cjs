// What a person does with the dashboard, for tests: a driver of ../clients/node/browser.cjs.
//
// Each command is answered with "did": its number, and what it gave or why it failed. Waiting is Playwright's: a command
// ends when what it waits for is there, or fails after PATIENCE.
const fs = require("fs");

const PATIENCE = 60_000;
const GIVES = new Set(["read", "ask", "axe", "weigh"]);

module.exports = async ({ page, tell, config }) => {
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (message) => tell("console", { kind: message.type(), text: message.text() }));
  page.on("download", async (download) => {
    const text = fs.readFileSync(await download.path(), "utf8");
    tell("download", { name: download.suggestedFilename(), text });
  });

  const found = ({ role, name, label, text, css, within, exact = false, nth = 0 }) => {
    const root = within ? found(within) : page;
    if (role) return root.getByRole(role, { ...(name === undefined ? {} : { name }), exact }).nth(nth);
    if (label) return root.getByLabel(label, { exact }).nth(nth);
    if (text) return root.getByText(text, { exact }).nth(nth);
    return root.locator(css).nth(nth);
  };

  const commands = {
    goto: ({ url }) => page.goto(url),
    reload: () => page.reload(),
    click: (what) => found(what).click(),
    fill: ({ value, ...what }) => found(what).fill(value),
    choose: ({ value, ...what }) => found(what).selectOption(value),
    press: ({ key }) => page.keyboard.press(key),
    type: ({ value }) => page.keyboard.type(value),
    see: (what) => found(what).waitFor({ state: "visible" }),
    lose: (what) => found(what).waitFor({ state: "hidden" }),
    read: (what) => found(what).innerText(),
    ask: ({ code }) => page.evaluate(code),
    // Playwright's own waitForFunction evaluates text in the page, which the page's policy forbids.
    until: async ({ code }) => {
      const end = Date.now() + PATIENCE;
      while (!(await page.evaluate(code))) {
        if (Date.now() > end) throw new Error(`never became true: ${code}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    look: async ({ scheme = "light", width = 1280, height = 860 }) => {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height });
    },
    shoot: ({ path }) => page.screenshot({ path }),
    // What the page weighs once nothing is left to collect, and how long a task waits for its turn on it.
    weigh: async () => {
      const devtools = await page.context().newCDPSession(page);
      await devtools.send("HeapProfiler.collectGarbage");
      const { usedSize } = await devtools.send("Runtime.getHeapUsage");
      await devtools.detach();
      const waits = await page.evaluate(async () => {
        const found = [];
        for (let n = 0; n < 40; n++) {
          const begin = performance.now();
          await new Promise((resolve) => setTimeout(resolve, 25));
          found.push(performance.now() - begin - 25);
        }
        return found.sort((a, b) => a - b);
      });
      const nodes = await page.evaluate("document.querySelectorAll('*').length");
      return { heap_bytes: usedSize, nodes, wait_ms: waits[20], longest_wait_ms: waits[39] };
    },
    axe: async () => {
      if (!(await page.evaluate("'axe' in window"))) await page.evaluate(fs.readFileSync(config.axe, "utf8"));
      const result = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");
      return result.violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
    },
  };

  return new Proxy({}, {
    get: (_, name) => {
      if (!(name in commands)) return undefined; // such as `then`
      return async ({ number, ...more }) => {
        try {
          const value = await commands[name](more);
          tell("did", { number, value: GIVES.has(name) ? value : null });
        } catch (error) {
          tell("did", { number, error: String(error.message).split("\n").slice(0, 6).join("\n") });
        }
      };
    },
  });
};
