# Lines: idle transport=… kind=… clients=… heap_per_client=… …
{
    read_fields()
    if (!header++)
        printf "%-12s %-11s %8s %11s %15s %12s %8s\n", "transport", "client", "clients", "heap, KiB", "resident, KiB", "connections", "threads"
    printf "%-12s %-11s %8d %11.1f %15.1f %12.2f %8d\n", fields["transport"], fields["kind"], fields["clients"],
        fields["heap_per_client"] / 1024, fields["resident_per_client"] / 1024,
        fields["connections_per_client"], fields["threads"]
    judge("KiB of heap of " fields["clients"] " idle, " fields["kind"] " by " fields["transport"],
        fields["heap_per_client"] / 1024, fields["transport"] == "websocket" ? 16 : 28)
}
