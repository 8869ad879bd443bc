# Source me: puts the pinned Node first on PATH when the system's is missing or older than 22.18.
_node_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
_node_ok() { node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)' 2>/dev/null; }
if ! _node_ok; then
  if ! [ -x "$_node_dir/node_modules/.bin/node" ]; then
    echo "fetching the pinned Node (tools/node)" >&2
    npm ci --prefix "$_node_dir" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || { echo "run: could not fetch Node; npm is needed" >&2; exit 5; }
  fi
  export PATH="$_node_dir/node_modules/.bin:$PATH"
  _node_ok || { echo "run: the pinned Node does not run here: need Linux on x64 or arm64, or Node 22.18 or newer on PATH" >&2; exit 5; }
fi
unset -f _node_ok
unset _node_dir
