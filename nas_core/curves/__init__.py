"""Learning curves and where they lead: parametric families, and a Bayesian ensemble of them."""

from nas_core.curves.ensemble import extrapolate
from nas_core.curves.forecast import Forecast

__all__ = ["Forecast", "extrapolate"]
