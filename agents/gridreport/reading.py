"""How to read each section of a grid's report, for who has never seen one."""

from typing import Final

VERDICT: Final = (
    "One configuration is judged: the one that was best on the validation spans, on test spans "
    "that chose nothing. Its result is compared with what the best of all configurations tried "
    "would show if none of them had any skill. The grade says what to do next: nothing found and "
    "not distinguishable from luck mean that there is no evidence of an edge; worth a holdout "
    "means that one more look, at time kept aside, is justified; holds on the holdout means that "
    "this look confirmed it."
)
TIME: Final = (
    "Each row is one training: it learned from the light span, settings were chosen by the yellow "
    "one, and the dark one only judged. Hatched gaps are left out, so that no feature or reward "
    "reaches from one span into the next. No trial has seen the holdout."
)
CONFIGURATIONS: Final = (
    "A dot is one trial: a seed on a fold. The diamond is the mean of the middle half of the "
    "dots, and its bar holds the true value in 95 of 100 such grids. Bars that cross 0 could be "
    "nothing; bars that overlap do not tell configurations apart. The red line is what luck is "
    "expected to give the best. In the table, Sharpe is that mean, record is the Sharpe ratio of "
    "the folds in a row with seeds averaged, deflated is the probability that it is more than "
    "luck gives the best of all tried, and beats chosen is how often it beats the chosen one on "
    "the same fold."
)
EQUITY: Final = (
    "What an account would have become on the test spans, one after the other, after all costs, "
    "seeds averaged. None of it was learned from or chosen by. Compare the chosen one with the "
    "baselines: what hold earns needs no agent. Dashed lines are where a fold begins."
)
OVERFITTING: Final = (
    "Time is cut into blocks; on every half of them the best configuration is picked, and its "
    "rank on the other half is noted. Bars on the left are splits in which the pick was among the "
    "worse half. Half of them on either side means that choosing by the past is worth nothing "
    "here; it is also what many equally good configurations look like."
)
PARAMETERS: Final = (
    "A dot is a configuration, by the value it has of one parameter; the dark one is the chosen, "
    "the bars are means. A parameter matters where means differ by more than the dots of one "
    "value do. This is for the next grid's ideas: picking the best dot here would be choosing by "
    "the test spans."
)
PROFILES: Final = (
    "How many trials reach at least a given Sharpe ratio. A curve further to the right is better; "
    "curves that cross are not simply ordered. The share above 0 is read at the grey line; the "
    "band is the 95 % interval of the chosen one."
)
LEARNING: Final = (
    "The reward of the last training episodes, with exploration, at each checkpoint. Lines that "
    "still rise had too few steps; lines that never leave where they began have learned nothing. "
    "It is reward on training data and says nothing about profit on new data."
)
DIAGNOSIS: Final = (
    "How the chosen configuration came to its result, by its middle seed on the joined test "
    "spans. Look for profit that hangs on one hour, one regime or a few positions, and at the "
    "cost in basis points at which nothing would be left."
)
WORLDS: Final = (
    "The same checkpoints under other costs and delays. An edge that vanishes with doubled fees "
    "or one decision's delay is an edge of the simulation. In training is the same agent on data "
    "that it has seen: the distance to as trained is what it learned by heart."
)
HOLDOUT: Final = (
    "Time that no trial has seen, looked at once. It confirms where the ratio is above 0, luck is "
    "improbable, and no baseline is ahead."
)
COMPARE: Final = (
    "Two grids side by side, each by its own chosen configuration and its own number of tries. "
    "Where both have the same test periods, chance is the probability of such a lead without "
    "being better."
)
FAILED: Final = (
    "Failed and stopped configurations count among those tried. A grid in which many failed says "
    "less than its table suggests."
)
TRIALS: Final = (
    "Every trial with its figures and equity on the validation span, which chose, and on the test "
    "span, which only judged. Validation far better than test is what choosing by luck looks "
    "like."
)
ORIGIN: Final = (
    "What it takes to do this again: the same data by fingerprint, the same commit and the same "
    "file give the same checkpoints."
)
