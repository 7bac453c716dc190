"""How good a picture is: metrics, the protocols of evaluation, drawings."""
