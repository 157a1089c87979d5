/** What an event says, as a sentence for people. */
import { doorOf, personOf, type DoorEvent } from "./events.ts"

/** A part of a sentence; names are shown stronger than the words between them. */
export interface Part {
  text: string
  name?: boolean
}

// {door}, {person}, {node} and {thing} stand for names.
const SENTENCES: Record<string, string> = {
  "device.request.allowed": "{person} was let in at {door}",
  "device.request.denied": "{person} was refused at {door}",
  "device.request.unknown": "An unknown credential was refused at {door}",
  "device.request.duress": "{person} signalled duress at {door}",
  "device.request.found": "{person} was recognised at {door}",
  "device.request.filtered": "A request of {person} at {door} was filtered out",
  "device.request.multiallowed": "{person} and others were let in at {door}",
  "device.request.ecard.allowed": "{person} was let in at {door} with a phone",
  "device.request.ecard.denied": "{person} was refused at {door} with a phone",
  "device.alarm.forced": "{door} was forced open",
  "device.alarm.forced.cleared": "The forced-open alarm of {door} is over",
  "device.alarm.propped.on": "{door} is being held open for too long",
  "device.alarm.propped.off": "{door} is no longer held open",
  "device.alarm.propped.alloff": "All held-open alarms of {door} are over",
  "device.alarm.tamper.on": "{door} is being tampered with",
  "device.alarm.tamper.off": "The tamper alarm of {door} is over",
  "device.alarm.circuitbreaker.on": "A circuit breaker tripped at {door}",
  "device.alarm.circuitbreaker.off": "The circuit breaker at {door} is closed again",
  "device.battery.low": "The battery of {door} is low",
  "device.forceopen.on": "{door} is kept unlocked",
  "device.forceopen.off": "{door} is no longer kept unlocked",
  "device.forceclose.on": "{door} is in do not disturb",
  "device.forceclose.off": "{door} is no longer in do not disturb",
  "device.autoopen.on": "{door} was unlocked by its schedule",
  "device.autoopen.off": "{door} was locked by its schedule",
  "device.autoopen.override.on": "The schedule of {door} was overridden",
  "device.autoopen.override.off": "The schedule of {door} applies again",
  "device.input.dps.opened": "{door} opened",
  "device.input.dps.closed": "{door} closed",
  "device.input.relay.on": "{door} unlocked",
  "device.input.relay.off": "{door} locked",
  "device.input.rex.on": "Somebody asked to leave at {door}",
  "device.input.rex.off": "The request to leave ended at {door}",
  "device.input.virtualread": "A card was read for {door} by software",
  "cloudnode.connected": "{node} came online",
  "cloudnode.disconnected": "{node} went offline",
  "cloudnode.created": "{node} was added",
  "cloudnode.updated": "{node} was changed",
  "cloudnode.deleted": "{node} was removed",
  "cloudnode.registered": "A panel was registered for {node}",
  "cloudnode.unregistered": "The panel of {node} was taken away",
  "sync.synced": "{node} has the newest settings",
  "sync.not_synced": "{node} is waiting for its settings",
  "endpoint.sync.started": "A controller began to take its settings",
  "endpoint.sync.finished": "A controller has its settings",
  "endpoint.sync.finished.all": "All controllers have their settings",
  "rule.antipassback.violation": "{person} passed {door} against anti-passback",
  "controller.alarm.comloss.on": "A controller of {node} fell silent",
  "controller.alarm.comloss.off": "A controller of {node} answers again",
  "x.command": "{actor} told {door} to {function}",
  "permission.accepted": "A permission was accepted",
  "floorgroup.activated": "{thing} was activated",
}

/** Every topic that has a sentence of its own, for people to choose from. */
export const KNOWN_TOPICS = Object.keys(SENTENCES).sort()

const NOUNS: Record<string, string> = {
  cloudnode: "Cloud node",
  floorgroup: "Floor group",
  cardformat: "Card format",
}
const VERBS: Record<string, string> = { created: "was added", updated: "was changed", deleted: "was removed" }

const FACTORS: Record<string, string> = {
  CARD_ONLY: "card",
  PIN_ONLY: "PIN",
  CARD_AND_PIN: "card and PIN",
  CARD_OR_PIN: "card or PIN",
}

/** The sentence of an event in parts. */
export function sentence(event: DoorEvent): Part[] {
  return fill(SENTENCES[event.topic] ?? general(event.topic), event)
}

/** The sentence as plain text. */
export function plain(event: DoorEvent): string {
  return sentence(event)
    .map((part) => part.text)
    .join("")
}

/** What there is to add to the sentence, if anything: how somebody identified, what caused it. */
export function remark(event: DoorEvent): string | null {
  if (event.topic === "x.command") return event.body?.["outcome"] === "done" ? null : String(event.body?.["error"] ?? event.body?.["outcome"] ?? "")
  const factor = event.body?.requestFactor
  if (typeof factor === "string") return FACTORS[factor] ?? factor.toLowerCase().replaceAll("_", " ")
  const cause = event.metadata?.["cause"]
  if (cause === "command") return "by a command"
  if (cause === "schedule") return "by its schedule"
  if (cause === "rex") return "to leave"
  return null
}

/** A topic that no sentence was written for: an entity that changed, a driver's own event, or anything new. */
function general(topic: string): string {
  const words = topic.split(".")
  const verb = VERBS[words.at(-1) ?? ""]
  if (verb !== undefined && words.length === 2) {
    const noun = words[0] ?? ""
    return `${NOUNS[noun] ?? noun.charAt(0).toUpperCase() + noun.slice(1)} {thing} ${verb}`
  }
  const said = (words[0] === "x" ? words.slice(1) : words).join(" ").replaceAll("_", " ")
  return said.charAt(0).toUpperCase() + said.slice(1)
}

function fill(template: string, event: DoorEvent): Part[] {
  const parts: Part[] = []
  for (const piece of template.split(/(\{\w+\})/)) {
    if (piece === "") continue
    if (piece === "{function}") {
      parts.push({ text: String(event.body?.["function"] ?? "do something").replaceAll("_", " ") })
      continue
    }
    const name = piece.startsWith("{") ? nameOf(piece.slice(1, -1), event) : null
    if (name === null && piece === "{thing}") continue
    parts.push(name === null ? { text: piece.startsWith("{") ? unknown(piece, parts.length === 0) : piece } : { text: name, name: true })
  }
  return parts
}

function nameOf(what: string, event: DoorEvent): string | null {
  if (what === "door") return doorOf(event)
  if (what === "person") return personOf(event)
  const body = event.body ?? {}
  if (what === "actor") return typeof event.metadata?.["by"] === "string" ? event.metadata["by"] : null
  const own = typeof body["name"] === "string" ? body["name"] : null
  if (what === "thing") return own
  return event.cloudNode?.name ?? own ?? serial(body) ?? event.cloudNode?.serialNumber ?? null
}

function serial(body: Record<string, unknown>): string | null {
  const value = body["serialNumber"] ?? body["panelSn"]
  return typeof value === "string" ? `Cloud node ${value}` : null
}

function unknown(piece: string, isFirst: boolean): string {
  const said = piece === "{person}" || piece === "{actor}" ? "somebody" : piece === "{door}" ? "a door" : "a cloud node"
  return isFirst ? said.charAt(0).toUpperCase() + said.slice(1) : said
}
