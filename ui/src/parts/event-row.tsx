/** One event as a row that opens. */
import { Component } from "preact"
import { CATEGORIES, categoryOf, isLate, type DoorEvent } from "../events.ts"
import { clock, moment, span, when } from "../format.ts"
import { remark, sentence } from "../sentences.ts"
import { Badge } from "./common.tsx"

interface Props {
  event: DoorEvent
  isFilledIn?: boolean
  /** Show the day too where it is not today. */
  dated?: boolean
  /** Show both times in the row. */
  bothTimes?: boolean
}

/** It only renders again when it is opened: an event never changes. */
export class EventRow extends Component<Props, { open: boolean }> {
  override state = { open: false }

  override shouldComponentUpdate(next: Props, state: { open: boolean }): boolean {
    return next.event !== this.props.event || state.open !== this.state.open
  }

  override render({ event, isFilledIn, dated, bothTimes }: Props, { open }: { open: boolean }) {
    const category = categoryOf(event.topic)
    const said = remark(event)
    return (
      <li class={bothTimes ? "event both" : "event"}>
        <button type="button" aria-expanded={open} onClick={() => this.setState({ open: !open })}>
          <time dateTime={new Date(event.occurred).toISOString()}>{dated ? when(event.occurred, Date.now()) : clock(event.occurred)}</time>
          {bothTimes && (
            <time class="recorded" dateTime={new Date(event.recorded).toISOString()}>
              <span class="hidden">recorded </span>
              {dated ? when(event.recorded, Date.now()) : clock(event.recorded)}
            </time>
          )}
          <span class={`mark ${category}`} title={CATEGORIES[category]} />
          <span>
            {sentence(event).map((part, at) => (part.name ? <b key={at}>{part.text}</b> : part.text))}
            {said !== null && <span class="remark"> · {said}</span>}
          </span>
          <span class="row">
            {isLate(event) && <Badge tone="warn">{span(event.recorded - event.occurred)} late</Badge>}
            {isFilledIn && <Badge tone="info">while away</Badge>}
          </span>
        </button>
        {open && <More event={event} />}
      </li>
    )
  }
}

function More({ event }: { event: DoorEvent }) {
  return (
    <div class="event-more">
      <dl class="facts">
        <dt>Topic</dt>
        <dd>
          <code>{event.topic}</code>
        </dd>
        <dt>Happened at the door</dt>
        <dd class="num">{moment(event.occurred)}</dd>
        <dt>Recorded here</dt>
        <dd class="num">
          {moment(event.recorded)} ({span(event.recorded - event.occurred)} later)
        </dd>
        <dt>Position</dt>
        <dd>
          <code>{event.position}</code>
        </dd>
        <dt>Id</dt>
        <dd>
          <code>{event.id}</code>
        </dd>
      </dl>
      <div class="code">
        <pre tabIndex={0} role="region" aria-label="The event's body">
          {JSON.stringify(event.body, null, 2)}
        </pre>
      </div>
    </div>
  )
}
