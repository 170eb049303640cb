"""Pictures of an evaluation, as Plotly figures that open without a network."""
