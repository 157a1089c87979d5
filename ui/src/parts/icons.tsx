/** The icons, drawn on a grid of 20. They only accompany words, so nobody reads them out. */
import type { ComponentChildren } from "preact"

function Icon({ children, size = 18 }: { children: ComponentChildren; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      {children}
    </svg>
  )
}

export const Logo = () => (
  <svg width="24" height="24" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8" fill="var(--accent)" />
    <path d="M10 26V8a2 2 0 0 1 2-2h6l4 3v17z" fill="var(--on-accent)" />
    <circle cx="18.6" cy="17" r="1.5" fill="var(--accent)" />
    <path d="M7 26h18" stroke="var(--on-accent)" stroke-width="2" stroke-linecap="round" />
  </svg>
)

export const LiveIcon = () => (
  <Icon>
    <path d="M2 10h3l2.5-6 5 12 2.5-6h3" />
  </Icon>
)
export const DoorIcon = () => (
  <Icon>
    <path d="M5 17V4.5A1.5 1.5 0 0 1 6.5 3h7A1.5 1.5 0 0 1 15 4.5V17M3 17h14M12 10.5v.1" />
  </Icon>
)
export const OpenDoorIcon = () => (
  <Icon>
    <path d="M4 17V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v13M2.5 17h15M5 3.2l6 2.3v11.5M9 11v.1" />
  </Icon>
)
export const LockIcon = () => (
  <Icon>
    <rect x="4" y="9" width="12" height="8" rx="1.5" />
    <path d="M7 9V6.5a3 3 0 0 1 6 0V9" />
  </Icon>
)
export const UnlockIcon = () => (
  <Icon>
    <rect x="4" y="9" width="12" height="8" rx="1.5" />
    <path d="M7 9V6.5a3 3 0 0 1 5.8-1" />
  </Icon>
)
export const AlertIcon = () => (
  <Icon>
    <path d="M10 3 2.5 16.5h15zM10 8.5v3.5M10 14.2v.1" />
  </Icon>
)
export const MoonIcon = () => (
  <Icon>
    <path d="M16.5 11.5A7 7 0 0 1 8.5 3.5a7 7 0 1 0 8 8z" />
  </Icon>
)
export const SunIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="3.5" />
    <path d="M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1" />
  </Icon>
)
export const SystemIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="6.5" />
    <path d="M10 3.5v13a6.5 6.5 0 0 0 0-13z" fill="currentColor" />
  </Icon>
)
export const OfflineIcon = () => (
  <Icon>
    <path d="M3 3l14 14M6.5 12.5a5 5 0 0 1 2-1.2M3.5 9.5A9 9 0 0 1 7 7.4M10 16v.1M11 6.6a9 9 0 0 1 5.5 2.9" />
  </Icon>
)
export const HistoryIcon = () => (
  <Icon>
    <path d="M3.5 10a6.5 6.5 0 1 1 2 4.7M3 14.5l2.5.4.3-2.6M10 6.5V10l2.5 1.5" />
  </Icon>
)
export const WebhookIcon = () => (
  <Icon>
    <circle cx="5.5" cy="14" r="2.5" />
    <circle cx="14.5" cy="14" r="2.5" />
    <circle cx="10" cy="5.5" r="2.5" />
    <path d="M8.8 7.7 6.5 11.7M8 14h4M11.2 7.7l2.3 4" />
  </Icon>
)
export const ConnectionsIcon = () => (
  <Icon>
    <path d="M7 3v4M13 3v4M5 7h10v2.5a5 5 0 0 1-10 0zM10 14.5V18" />
  </Icon>
)
export const ConnectIcon = () => (
  <Icon>
    <path d="M7 6l-4 4 4 4M13 6l4 4-4 4" />
  </Icon>
)
export const ClientsIcon = () => (
  <Icon>
    <circle cx="6.5" cy="13" r="3.5" />
    <path d="M9 10.5 16.5 3M13.5 6l2.5 2.5" />
  </Icon>
)
export const PauseIcon = () => (
  <Icon>
    <path d="M7 4v12M13 4v12" />
  </Icon>
)
export const PlayIcon = () => (
  <Icon>
    <path d="M6 4l10 6-10 6z" />
  </Icon>
)
export const SignOutIcon = () => (
  <Icon>
    <path d="M8 17H4.5A1.5 1.5 0 0 1 3 15.5v-11A1.5 1.5 0 0 1 4.5 3H8M13 14l4-4-4-4M17 10H8" />
  </Icon>
)
