/** Every door as a tile. */
import type { JSX } from "preact"
import { useEffect, useMemo, useState } from "preact/hooks"
import { said } from "../api.ts"
import { isUrgent, newDoor, STATUS_WORDS, statusOf, type DoorState, type Status } from "../doors.ts"
import type { Device } from "../entities.ts"
import { many, when } from "../format.ts"
import type { Live } from "../live.ts"
import { Act, Badge, Empty, Failed, Head, Skeleton } from "../parts/common.tsx"
import { AlertIcon, DoorIcon, LockIcon, MoonIcon, OfflineIcon, OpenDoorIcon, UnlockIcon } from "../parts/icons.tsx"
import { doorControls, executeAt, type Control } from "../placeos.ts"
import { sentence } from "../sentences.ts"

const ICONS: Record<Status, () => JSX.Element> = {
  offline: OfflineIcon,
  forced: AlertIcon,
  tampered: AlertIcon,
  propped: AlertIcon,
  "do-not-disturb": MoonIcon,
  open: OpenDoorIcon,
  "held-open": UnlockIcon,
  unlocked: UnlockIcon,
  locked: LockIcon,
  unknown: DoorIcon,
}

type Shown = "all" | "attention" | "open"

const IS_OPEN: ReadonlySet<Status> = new Set(["open", "held-open", "unlocked", "propped", "forced"])

interface Tile {
  device: Device
  door: DoorState
  status: Status
  node: string | null
}

export function DoorsPage({ live }: { live: Live }) {
  const [text, setText] = useState("")
  const [shown, setShown] = useState<Shown>("all")
  const controls = useDoorControls(live.siteId)
  const version = live.version.value
  const loading = live.loading.value
  const tiles = useMemo(() => tilesOf(live), [version])

  if (loading.is === "failed") return <Failed error={loading.error} onRetry={() => void live.load()} />
  if (loading.is === "loading") return <Skeleton lines={8} />

  const urgent = tiles.filter((tile) => isUrgent(tile.status))
  const open = tiles.filter((tile) => IS_OPEN.has(tile.status))
  const chosen = shown === "attention" ? urgent : shown === "open" ? open : tiles
  const words = text.toLowerCase()
  const found = chosen.filter((tile) => tile.device.name.toLowerCase().includes(words))
  const choices: [Shown, string][] = [
    ["all", `All ${tiles.length}`],
    ["attention", `To look at ${urgent.length}`],
    ["open", `Open or unlocked ${open.length}`],
  ]
  return (
    <>
      <Head title="Doors">
        {urgent.length === 0 ? "All is well." : `${many(urgent.length, "door")} to look at.`} States are as the doors' own events told.
      </Head>
      <div class="tools">
        <input class="input search" type="search" aria-label="Find a door" placeholder="Find a door" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <div class="chips" role="group" aria-label="Which doors">
          {choices.map(([name, label]) => (
            <button key={name} class="chip" type="button" aria-pressed={shown === name} onClick={() => setShown(name)}>
              {label}
            </button>
          ))}
        </div>
      </div>
      {found.length === 0 ? (
        <div class="card">
          {tiles.length === 0 ? (
            <Empty title="This site has no doors yet">
              Add devices with <code>POST /api/sites/…/devices</code>, or import a building with <code>serve --import</code>.
            </Empty>
          ) : (
            <Empty title="No door matches" />
          )}
        </div>
      ) : (
        <ul class="tiles" aria-label="Doors">
          {found.map((tile) => (
            <DoorTile key={tile.device.id} tile={tile} siteId={live.siteId} control={controls.get(tile.device.id) ?? null} />
          ))}
        </ul>
      )}
    </>
  )
}

function DoorTile({ tile, siteId, control }: { tile: Tile; siteId: string; control: Control | null }) {
  const { device, door, status } = tile
  const [told, setTold] = useState<{ text: string; isError: boolean } | null>(null)
  const Icon = ICONS[status]
  const can = (name: string) => control !== null && name in control.functions
  const does = (name: string, value?: unknown) => async () => {
    if (control === null) return
    try {
      const answer = await executeAt(siteId, control, name, value)
      // A driver that cannot do it says so with null, where it has something to say at all.
      const cannot = name === "unlock" && answer === null
      setTold({ text: cannot ? "This door cannot be moved from here" : "Done", isError: cannot })
    } catch (error) {
      setTold({ text: said(error), isError: true })
    }
    setTimeout(() => setTold(null), 4000)
  }
  return (
    <li class={`tile s-${status} ${isUrgent(status) ? "urgent" : ""}`}>
      <div class="tile-head">
        <span class="door-icon">
          <Icon />
        </span>
        <div class="tile-name">
          <h2>{device.name}</h2>
          <p class="status">{STATUS_WORDS[status]}</p>
        </div>
        <a class="small" href={`#/history/door/${encodeURIComponent(device.id)}`} aria-label={`History of ${device.name}`}>
          History
        </a>
      </div>
      {(door.batteryLow || (door.heldOpen && status !== "held-open") || (door.doNotDisturb && status !== "do-not-disturb")) && (
        <div class="row">
          {door.heldOpen && status !== "held-open" && <Badge>Kept unlocked</Badge>}
          {door.doNotDisturb && status !== "do-not-disturb" && <Badge tone="info">Do not disturb</Badge>}
          {door.batteryLow && <Badge tone="warn">Battery low</Badge>}
        </div>
      )}
      {door.last.length === 0 ? (
        <p class="muted small">{tile.node === null ? "No events yet." : `No events yet. Behind ${tile.node}.`}</p>
      ) : (
        <ul aria-label={`Last events of ${device.name}`}>
          {door.last.slice(0, 4).map((event) => (
            <li key={event.position}>
              <time class="num" dateTime={new Date(event.occurred).toISOString()}>
                {when(event.occurred, Date.now())}
              </time>
              <span title={event.topic}>{shortSentence(event, device.name)}</span>
            </li>
          ))}
        </ul>
      )}
      <div class="row">
        {can("unlock") && (
          <Act run={does("unlock")} aria-label={`Unlock ${device.name}`}>
            <UnlockIcon /> Unlock
          </Act>
        )}
        {can("hold_open") && (
          <Act run={does("hold_open", !door.heldOpen)} aria-label={`${door.heldOpen ? "Release" : "Hold open"} ${device.name}`}>
            {door.heldOpen ? "Release" : "Hold open"}
          </Act>
        )}
      </div>
      <p role="status" class={`small told ${told?.isError ? "error" : "muted"}`}>
        {told?.text}
      </p>
    </li>
  )
}

function useDoorControls(siteId: string): Map<string, Control> {
  const [controls, setControls] = useState(new Map<string, Control>())
  useEffect(() => {
    const controller = new AbortController()
    doorControls(siteId, controller.signal).then(setControls, () => undefined)
    return () => controller.abort()
  }, [siteId])
  return controls
}

function tilesOf(live: Live): Tile[] {
  const nodes = new Map(live.nodes.map((node) => [node.id, node]))
  return live.devices.map((device) => {
    const node = nodes.get(device.cloud_node_id ?? "")
    const isOffline = node?.serial_number != null && live.offline.has(node.serial_number)
    const door = live.doors.get(device.id) ?? newDoor()
    return { device, door, status: statusOf(door, isOffline), node: node?.name ?? null }
  })
}

/** A sentence without the name that stands above it: "unlocked" instead of "Front door unlocked". */
function shortSentence(event: Parameters<typeof sentence>[0], name: string): string {
  const parts = sentence(event)
  const text = parts
    .map((part, at) => {
      if (part.name && part.text === name) return ""
      const next = parts[at + 1]
      return next?.name && next.text === name ? part.text.replace(/\s+(at|for|of)\s*$/, "") : part.text
    })
    .join("")
    .trim()
  return text.charAt(0).toUpperCase() + text.slice(1)
}
