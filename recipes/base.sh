#!/bin/sh
# Trains the model that is shipped as `--model base`, from nothing: sh recipes/base.sh [FOLDER]
# Run it again after an interruption: it goes on where it stopped.
set -eu
out=${1:-runs/base}

# stage NAME SHORTEST LONGEST LINES SEED WIDTH_PX EPOCHS LR: lines of some lengths, and a training with them.
stage() {
    python -m jobs.render_lines --out-uri "$out/lines_$1" --min-length "$2" --max-length "$3" --num-lines "$4" \
        --seed "$5" --model "$out/untrained" --maths-share 0.5 --image.size native
    if [ ! -e "$out/start_$1/config.json" ]; then python recipes/widen.py "$from" "$out/start_$1" "$6"; fi
    python -m jobs.train_trocr --lines-uri "$out/lines_$1" --model "$out/start_$1" --run-name "$1" \
        --runs-uri "$out/runs" --models-uri "$out/models_$1" --num-workers 2 --batch-size 16 --epochs "$7" --lr "$8" \
        --warmup-steps 200 --lr-schedule "$9" --max-grad-norm 1 --max-generated-lines 400
    from=$out/models_$1/trained_ocr
}

if [ ! -e "$out/untrained/config.json" ]; then python recipes/untrained.py "$out/untrained"; fi
from=$out/untrained
stage letters 1 3 60000 201 96 2 1e-3 plateau
stage words 3 9 60000 202 192 1 1e-3 plateau
stage lines 5 36 160000 203 512 2 1e-3 cosine
echo "$from reads; python recipes/ship.py $from ocr_ray/model/base puts it into the package"
