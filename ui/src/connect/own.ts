/** The inspector on this server's own stream: server-sent events. */
import { watched, type Inspector, type Setting } from "./frames.ts"

export async function inspect({ siteId, credential, frames }: Setting): Promise<Inspector> {
  const controller = new AbortController()
  const read = async () => {
    const response = await watched(frames, `/api/sites/${siteId}/stream`, { headers: { "X-API-Key": credential.api_key }, signal: controller.signal })
    const decoder = new TextDecoder()
    for await (const chunk of (response.body ?? []) as unknown as AsyncIterable<Uint8Array>) {
      for (const block of decoder.decode(chunk, { stream: true }).split("\n\n")) if (block.trim()) frames.add("in", block)
    }
    frames.add("note", "the stream ended")
  }
  read().catch((error: unknown) => {
    if (!controller.signal.aborted) frames.add("error", error instanceof Error ? error.message : String(error))
  })
  return { close: () => controller.abort() }
}
