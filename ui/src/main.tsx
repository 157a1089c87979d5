import { render } from "preact"
import { App } from "./app.tsx"
import { watchRoute } from "./route.ts"
import { open } from "./session.ts"
import { applyTheme } from "./theme.ts"
import "./styles/tokens.css"
import "./styles/base.css"
import "./styles/parts.css"
import "./styles/layout.css"
import "./styles/pages.css"

applyTheme()
watchRoute()
void open()
const root = document.getElementById("app")
if (root !== null) render(<App />, root)
