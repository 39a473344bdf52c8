"""A study in which everything that a user or a model writes is markup, quotes and emoji."""

import json

import yaml

import popsim
from popsim.engines import Reply

EVIL = "<script>document.title='owned'</script> \"quoted\" & it's 😀 </title><img src=x onerror=alert(1)>"
QUESTIONS = [
    {"name": "rate", "kind": "number", "text": f"Rate? {EVIL}", "minimum": 0, "maximum": 10, "decimals": 1},
    {"name": "mood", "kind": "scale", "text": "Mood?", "minimum": 1, "maximum": 5, "labels": {1: "bad", 5: "good"}},
    {"name": "pick", "kind": "choice", "text": "Pick?", "options": [EVIL, "no"], "dont_know": "Don't know"},
    {"name": "many", "kind": "multiple", "text": "Which?", "options": ["red", "green", "blue"]},
    {"name": "odds", "kind": "density", "text": "?", "bins": [{"label": "low", "high": 0}, {"label": "up", "low": 0}]},
    {"name": "why", "kind": "text", "text": "Why?"},
]  # fmt: skip


class Evil:
    """Answers all kinds of questions with markup; one prompt in five cannot be read at first, one in 25 never."""

    fingerprint = "evil/1"
    reads = "text"
    abilities = frozenset()
    reproducible = "exact"
    notice = f"Made up by a test. {EVIL}"

    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            seed = prompt.seed
            said = {
                "rate": seed % 101 / 10,
                "mood": 1 + seed % 5,
                "pick": [EVIL, "no", "Don't know"][seed % 3],
                "many": ["red", "green", "blue"][seed % 3 :],
                "odds": {"low": 40, "up": 60},
                "why": f"Because {EVIL}",
            }
            text = f"never mind {EVIL}" if seed % 5 == 0 else json.dumps(said)
            yield position, Reply(text, "stop", 100, 20)


def evil_study(folder):
    questionnaire = {
        "name": "evil",
        "topic": "everything",
        "task": "Answer.",
        "source": f"A source {EVIL}",
        "vignettes": [{"name": "v", "title": EVIL, "pages": [{"text": EVIL, "questions": QUESTIONS}]}],
    }
    scenario = {
        "name": "evil",
        "title": EVIL,
        "population": "us_adults_2018",
        "size": 60,
        "seed": 3,
        "questionnaire": "evil_questions.yaml",
        "arms": {"one": {}, "other": {}},
        "network": {"kind": "follow", "mean_degree": 6},
        "news": [{"name": "item", "step": 0, "text": EVIL, "source": EVIL, "reach": 0.3, "passed_on": 0.2}],
        "waves": [0, 2],
        "prompt": {"reasoning": False},
        "attempts": 2,
    }
    (folder / "evil_questions.yaml").write_text(yaml.safe_dump(questionnaire), encoding="utf-8")
    (folder / "evil.yaml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    return popsim.load_scenario(folder / "evil.yaml")
