#!/bin/sh
# Installs the real clients that the tests use, once. Without Node it says so; in CI that is a failure.
set -eu
folder=$1
if ! command -v npm >/dev/null 2>&1; then
    echo "Node.js is not installed: the tests with the JavaScript clients are skipped."
    [ -z "${CI:-}" ]
    exit
fi
if [ ! "$folder/node_modules/.installed" -nt "$folder/package-lock.json" ]; then
    (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
    touch "$folder/node_modules/.installed"
fi
