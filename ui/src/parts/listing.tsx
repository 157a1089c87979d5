/** Lists of what the server has: being read, failed, empty, or there. */
import type { ComponentChildren } from "preact"
import { Failed, Skeleton, type Loaded } from "./common.tsx"

interface Shown<T> {
  of: Loaded<T[]>
  /** What stands there when the list is empty. */
  empty: ComponentChildren
  /** How many lines it seems to have while it is read for the first time. */
  lines?: number
}

/** A card around what `children` make of the items. */
export function Listing<T>({ of, empty, lines = 5, children }: Shown<T> & { children: (items: T[]) => ComponentChildren }) {
  const { data, error, reload } = of
  return (
    <>
      {error !== null && <Failed error={error} onRetry={reload} />}
      {data === null ? (
        error === null && <Skeleton lines={lines} />
      ) : data.length === 0 ? (
        <div class="card">{empty}</div>
      ) : (
        <div class="card flush">{children(data)}</div>
      )}
    </>
  )
}

/** The items as rows of a table, which are cards on a phone; with `acts` the last cell of a row has its buttons. */
export function Table<T>({ columns, acts = false, row, ...list }: Shown<T> & { columns: string[]; acts?: boolean; row: (item: T) => ComponentChildren }) {
  return (
    <Listing {...list}>
      {(items) => (
        <div class="table-wrap">
          <table class="cards">
            <thead>
              <tr>
                {columns.map((column) => (
                  <th key={column} scope="col">
                    {column}
                  </th>
                ))}
                {acts && (
                  <th scope="col" class="actions">
                    <span class="hidden">Actions</span>
                  </th>
                )}
              </tr>
            </thead>
            <tbody>{items.map(row)}</tbody>
          </table>
        </div>
      )}
    </Listing>
  )
}
