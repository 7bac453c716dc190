"""The app: a page and an HTTP interface on this machine, behind `hrcnn-jax app`.

A request holds a JPEG file or another picture and comes back restored: nothing is kept between two
requests but the networks. The way through: `guard` (who may ask), `server` (what there is to ask
for), `wishes` (how it is asked for), `workshop` (one picture after another), `words` (what was
found). `page` is the page itself, which asks as any program would.
"""
