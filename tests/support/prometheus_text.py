"""Reading /metrics in tests."""

from prometheus_client.parser import text_string_to_metric_families

from tests.support.server_app import Client


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, /, **labels: str) -> float:
        """The sum of the samples that have these labels; 0 without any."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


async def scrape(client: Client) -> Scrape:
    """GET /metrics."""
    response = await client.get("/metrics")
    assert response.status == 200
    return Scrape(await response.text())
