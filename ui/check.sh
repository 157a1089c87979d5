#!/bin/sh
# Checks the dashboard where Node is there: types, units, and that a fresh build equals the committed one.
set -eu
cd "$(dirname "$0")"
committed=../src/doorstream/dashboard/static
if ! command -v npm >/dev/null 2>&1; then
    echo "Node.js is not installed: the dashboard's bundle is not compared with its sources."
    [ -z "${CI:-}" ]
    exit
fi
if [ ! node_modules/.installed -nt package-lock.json ]; then
    npm ci --no-audit --no-fund --loglevel=error
    touch node_modules/.installed
fi
npm run --silent types
npm run --silent test
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
npx vite build --logLevel error --outDir "$fresh"
diff -r "$fresh" "$committed" >/dev/null || {
    echo "src/doorstream/dashboard/static is not what ui/ gives: run make ui and commit the result."
    diff -rq "$fresh" "$committed" || true
    exit 1
}
