"""Count what a cluster has left in a project: `python left.py CLUSTER [PROJECT]`. Exit code 1 if there is anything.

It asks Compute Engine itself, by the labels and names that infra gives all that it makes.
"""
# ruff: noqa: T201  # it is there to print

import os
import sys

from google.cloud import compute_v1


def main(cluster: str, project: str = "infrakit-test") -> int:
    options = {"universe_domain": os.environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "googleapis.com")}
    if endpoint := os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"):
        options["api_endpoint"] = endpoint
    counts = {}
    for what, client, filter_ in (
        ("instances", compute_v1.InstancesClient, f"labels.infrakit-cluster={cluster}"),
        ("disks", compute_v1.DisksClient, f"labels.infrakit-cluster={cluster}"),
        ("addresses", compute_v1.AddressesClient, f"name:{cluster}-"),
    ):
        request = {"project": project, "filter": filter_}
        pages = client(client_options=options).aggregated_list(request=request)
        counts[what] = sum(len(getattr(scoped, what)) for _, scoped in pages)
    print(f"{cluster}: {', '.join(f'{number} {what}' for what, number in counts.items())}")
    return int(any(counts.values()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
