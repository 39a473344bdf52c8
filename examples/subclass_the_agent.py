"""Give some respondents a long drive to work, and field the survey inside a plain Mesa loop.

python subclass_the_agent.py
"""

import popsim
from popsim.engines import answer_all


class Commuter(popsim.Respondent):
    """A respondent who may drive far to work, and says so."""

    def persona(self) -> str:
        """Add the drive to the personal characteristics."""
        text = super().persona()
        return f"{text} You drive 40 miles to work every day." if self.row % 3 == 0 else text


scenario = popsim.load_scenario("oil_price_rise", {"size": 30})
engine = popsim.load_engine("baseline")
model = popsim.PopulationModel(
    scenario, respondent=Commuter, reads=engine.reads, answer=lambda prompts: answer_all(engine, prompts)
)
for _ in range(3):
    model.step()

readings = model.readings[0]
print(model.respondents[0].persona())
print(readings[0].recall)
print({answer.question: answer.value or answer.label for answer in readings[0].answers})
