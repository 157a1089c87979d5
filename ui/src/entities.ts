/** What the directory has, as the server shows it. */
export interface Site {
  id: string
  name: string
  timezone: string
}

export interface Device {
  id: string
  name: string
  cloud_node_id: string | null
  connection_id: string | null
  port: number | null
  created: string
}

export interface CloudNode {
  id: string
  name: string
  serial_number: string | null
  connected: boolean
  /** Since when, in milliseconds since 1970. */
  connection_changed: number | null
}

export interface Holder {
  id: string
  first_name: string
  last_name: string
}

export interface Client {
  id: string
  name: string
  scopes: string[]
  sites: "all" | string[]
  disabled: boolean
  created: string
}

export interface User {
  id: string
  username: string
  name: string
  roles: Record<string, string>
  holder_ids: Record<string, string>
  disabled: boolean
  created: string
}

export interface Who {
  id: string
  name: string
  kind: string
  scopes: string[]
  sites: "all" | string[]
  expires_at: number | null
}

export function holderName(holder: Holder): string {
  return `${holder.first_name} ${holder.last_name}`.trim()
}
