#!/usr/bin/env bash
# A fleet on this machine: a NATS server, two workers, a search whose policies they judge; then the
# same search alone, and whether both found the same. Further arguments go to both searches.
#
# Needs the program (`cargo build --release`, or HAQ=PROGRAM) and nats-server, which is installed
# where this runs as root on a system with apt-get.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

haq=$(realpath "${HAQ:-target/release/haq}")
[ -x "$haq" ] || { echo "fleet: $haq is not there; cargo build --release makes it" >&2; exit 1; }

PATH=$PATH:/usr/sbin
if ! command -v nats-server >/dev/null; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "fleet: install nats-server first (Debian's package has this name)" >&2
        exit 1
    fi
    echo "fleet: installing nats-server" >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nats-server >/dev/null
fi

folder=$(mktemp -d)
workers=()
server=
cleanup() {
    # The server last: workers say goodbye to it.
    for process in "${workers[@]}" $server; do
        kill "$process" 2>/dev/null && wait "$process" || true
    done
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"

port=${FLEET_PORT:-4222}
nats-server -js -a 127.0.0.1 -p "$port" -sd "$folder/nats" >"$folder/nats.log" 2>&1 &
server=$!
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    kill -0 "$server" 2>/dev/null || { cat "$folder/nats.log" >&2; exit 1; }
    sleep 0.1
done

queue=nats://127.0.0.1:$port
for name in one two; do
    "$haq" worker --queue "$queue" --name "$name" --cache "$folder/cache-$name" --threads 1 &
    workers+=($!)
done

search=(search --hw bismo-edge --budget latency=0.5 --episodes 48 --in-flight 8 --deterministic "$@")
echo "fleet: haq ${search[*]} --queue $queue" >&2
"$haq" "${search[@]}" --queue "$queue" --json >shared.json
"$haq" fleet --queue "$queue"
echo "fleet: the same search alone" >&2
"$haq" "${search[@]}" --json >alone.json

python3 - <<'COMPARE'
import json, sys
shared, alone = (json.load(open(name)) for name in ("shared.json", "alone.json"))
same = all(shared[key] == alone[key] for key in ("best", "front", "evaluations"))
bits = " ".join(f"{layer['weight_bits']}/{layer['activation_bits']}" for layer in shared["best"]["layers"])
print(f"best policy {bits}: {100 * shared['best']['quality_test']:.2f} % on the test images")
print(f"fleet {shared['wall_s']:.1f} s, alone {alone['wall_s']:.1f} s; both found", "the same" if same else "DIFFERENT THINGS")
sys.exit(not same)
COMPARE
