"""Rows for `shardscope read-answers`: real answers of the tests' fixtures, again and again.

    python3 tools/bench/answers.py 100000 > rows.jsonl          # every answer
    python3 tools/bench/answers.py 100000 200 > rows.jsonl      # those under 200 characters
    time shardscope read-answers < rows.jsonl > /dev/null
"""

import gzip
import json
import pathlib
import sys

FIXTURES = pathlib.Path(__file__).parents[2] / "tests/fixtures/scoring"
count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
longest = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize

rows = []
for name in ("mmmu_val_responses", "mmmu_pro_gpt4o_responses"):
    with gzip.open(FIXTURES / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("options") and len(row["response"]) < longest:
                rows.append({
                    "type": "option",
                    "choices": row["options"],
                    "response": row["response"],
                    "answer": row["gold_answer"],
                })
for number in range(count):
    print(json.dumps({"id": number, **rows[number % len(rows)]}))
