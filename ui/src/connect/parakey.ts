/** The inspector as Parakey's client: polls the event log with its ETag. */
import { watched, type Inspector, type Setting } from "./frames.ts"

const EVERY = 5000 // a program of its own should not ask more than once a minute; here somebody is watching

export async function inspect({ siteId, credential, frames }: Setting): Promise<Inspector> {
  const logs = `/eventLogs?domainId=${siteId}`
  const headers = { "access-token": credential.api_key }
  let etag = ""
  let since = new Date()
  const poll = async () => {
    try {
      const changed = await watched(frames, `${logs}&limit=1`, { headers: { ...headers, ...(etag ? { "If-None-Match": etag } : {}) } })
      if (changed.status === 304 || !changed.ok) return
      const isFirst = etag === ""
      etag = changed.headers.get("ETag") ?? ""
      if (isFirst) return
      const asked = new Date()
      const answer = await watched(frames, `${logs}&startDate=${since.toISOString()}&orderBy=createdAt:DESC`, { headers })
      since = asked
      for (const log of (await answer.json()) as unknown[]) frames.add("in", JSON.stringify(log))
    } catch (error) {
      frames.add("error", error instanceof Error ? error.message : String(error))
    }
  }
  await poll()
  const timer = setInterval(() => void poll(), EVERY)
  return { actions: { "Poll now": poll }, close: () => clearInterval(timer) }
}
