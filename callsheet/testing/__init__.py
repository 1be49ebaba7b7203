"""For tests of your own crews: scripted models, in the place of any that costs, waits or changes its mind.

```python
from callsheet.testing import call, scripted

def test_the_clerk_looks_the_order_up():
    with scripted([call("order_status", order_id="17"), "It is on its way."]) as script:
        result = crew.run("Where is order 17?", host="inline")
    assert result.output == "It is on its way."
    assert script.requests[0].agent == "clerk"
```

All else is what it is without: the agents' turns, the tools, the journal, limits and spans. To run a crew again
with what real models have said, record a cassette: `crew.run(…, record="FILE")`, then `replay="FILE"`.
"""

from callsheet.models.scripted import Replies, Reply, Script, call, reply
from callsheet.testing.scripting import own_home, scripted

__all__ = ["Replies", "Reply", "Script", "call", "own_home", "reply", "scripted"]
