"""Watch a forecast spread through a few hundred people and move what they believe.

pip install "popsim[live]"
solara run live.py
"""

import mesa
import networkx as nx
import numpy as np
import solara
from matplotlib.figure import Figure
from mesa.visualization import SolaraViz
from mesa.visualization.utils import update_counter

import popsim
from popsim.network import to_networkx

BLUE, ORANGE, GREY = "#0072b2", "#e69f00", "#c8c8c8"


class LiveModel(popsim.PopulationModel):
    """The information treatment, but the forecast travels over a network; sliders set how."""

    def __init__(self, reach: float = 0.05, passed_on: float = 0.15, size: int = 300, seed: int = 1) -> None:
        """Draw people and network, and lay the network out."""
        changes = {
            "size": size,
            "seed": seed,
            "network": {"kind": "follow", "mean_degree": 8, "homophily": {"party": 3.0}},
            "news.0.reach": reach,
            "news.0.assigned": 0.0,
            "news.0.passed_on": passed_on,
            "news.0.signal.value": 6.0,
            "beliefs.inflation.opinions": {"rule": "friedkin_johnsen", "sd": 2.0},
            "waves": [0, 20],
        }
        super().__init__(popsim.load_scenario("information_treatment", changes))
        self.places = nx.spring_layout(nx.Graph(to_networkx(self.graph)), seed=1, iterations=30)
        self.datacollector = mesa.DataCollector(model_reporters={"heard": lambda model: float(model.heard.mean())})
        self.datacollector.collect(self)

    @property
    def heard(self) -> np.ndarray:
        """Who has heard the forecast."""
        return self.state.heard_at[:, 0] >= 0

    def step(self) -> None:
        """Move information by one step and note how far it came."""
        super().step()
        self.datacollector.collect(self)


def draw(title: str, paint: object) -> None:
    """Show one picture of the model as it is now."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    paint(axes)
    solara.FigureMatplotlib(figure)


@solara.component
def Graph(model: LiveModel) -> None:
    """Show who follows whom, and who has heard."""
    update_counter.get()

    def paint(axes: object) -> None:
        places = np.array([model.places[i] for i in range(len(model.people))])
        follower, followed = model.graph.nonzero()
        ends = np.stack([places[follower], places[followed], np.full_like(places[follower], np.nan)], axis=1)
        axes.plot(*ends.reshape(-1, 2).T, color=GREY, linewidth=0.2, zorder=1)
        for heard, colour in ((False, BLUE), (True, ORANGE)):
            axes.scatter(*places[model.heard == heard].T, s=12, color=colour, label="heard" if heard else "not yet")
        axes.legend(loc="lower left")
        axes.axis("off")

    draw(f"Who has heard the forecast, step {model.steps}", paint)


@solara.component
def Spread(model: LiveModel) -> None:
    """Show the share who have heard, step by step."""
    update_counter.get()

    def paint(axes: object) -> None:
        axes.plot(model.datacollector.get_model_vars_dataframe()["heard"], color=ORANGE, marker="o")
        axes.set(xlabel="step", ylabel="share who have heard", xlim=(0, max(10, model.steps)), ylim=(0, 1))

    draw("Spread", paint)


@solara.component
def Beliefs(model: LiveModel) -> None:
    """Show what people believe about inflation, at first and now."""
    update_counter.get()

    def paint(axes: object) -> None:
        bins = np.linspace(-6, 12, 37)
        axes.hist(model.state.first["inflation"].mean, bins, color=GREY, label="at first")
        axes.hist(model.state.beliefs["inflation"].mean, bins, color=BLUE, histtype="step", label="now")
        axes.set(xlabel="expected inflation, %", ylabel="people")
        axes.legend()

    draw("Beliefs", paint)


def slider(label: str, value: float, top: float) -> dict[str, object]:
    """Describe a slider as Mesa wants it."""
    return {"type": "SliderFloat", "value": value, "label": label, "min": 0.0, "max": top, "step": 0.01}


page = SolaraViz(
    LiveModel(),
    components=[(Graph, 0), (Spread, 0), (Beliefs, 0)],
    model_params={
        "reach": slider("Share who hear it directly", 0.05, 1.0),
        "passed_on": slider("Chance that it is passed on along a tie", 0.15, 0.5),
        "size": 300,
    },
    name="popsim: a forecast travels",
)
