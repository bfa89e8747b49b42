"""What each part of the canonical form holds, and in which order docker prints it.

A shape is a list of keys, each with the kind of its value. `bind` reads values as their kinds
say and `render` prints them in this order. Kinds:

    text bool int single size time     omitted when empty, false or zero
    bool? int? time?                   kept when given, whatever the value
    texts words                        lists of strings; of strings and numbers
    pairs nullable labels options many-options hosts
                                       mappings of strings (of strings and nulls, of lists)
    command test mode count opt-out ulimits data
    @shape  @shape?                    one part: always there in JSON; only when given
    @shape[]  @shape{}  @shape{}?      a list of parts; a table of them; one whose parts may be null

Source: compose-go types/*.go, fields and tags.
"""

from __future__ import annotations


def _shape(text: str) -> dict[str, str]:
    """Read `key:kind` words; a word without a kind is a text."""
    pairs = (word.partition(":") for word in text.split())
    return {key: kind or "text" for key, _, kind in pairs}


SHAPES: dict[str, dict[str, str]] = {
    name: _shape(text)
    for name, text in {
        "project": """
            name services:@service{} networks:@network{} volumes:@volume{} secrets:@file{}
            configs:@file{} models:@model{}""",
        "service": """
            profiles:texts annotations:pairs attach:bool? build:@build? develop:@develop?
            blkio_config:@blkio? cap_add:texts cap_drop:texts cgroup_parent cgroup cpu_count:int
            cpu_percent:single cpu_period:int cpu_quota:int cpu_rt_period:int cpu_rt_runtime:int
            cpus:single cpuset cpu_shares:int command:command configs:@granted[] container_name
            credential_spec:@credential? depends_on:@dependency{} deploy:@deploy?
            device_cgroup_rules:texts devices:@device[] dns:texts dns_opt:texts dns_search:texts
            domainname entrypoint:command provider:@provider? environment:nullable
            env_file:@env_file[] expose:words extends:@extends? external_links:texts
            extra_hosts:hosts group_add:texts gpus:@request[] hostname healthcheck:@healthcheck?
            image init:bool? ipc isolation labels:labels label_file:texts links:texts
            logging:@logging? mem_limit:size mem_reservation:size memswap_limit:size
            mem_swappiness:size mac_address models:@service_model{}? network_mode
            networks:@service_network{}? oom_kill_disable:bool oom_score_adj:int pid pids_limit:int
            platform ports:@port[] privileged:bool pull_policy pull_refresh_after read_only:bool
            restart runtime scale:int? secrets:@granted[] security_opt:texts shm_size:size
            stdin_open:bool stop_grace_period:time? stop_signal storage_opt:options sysctls:pairs
            tmpfs:texts tty:bool ulimits:ulimits use_api_socket:bool user userns_mode uts
            volumes:@mount[] volumes_from:texts working_dir pre_start:@hook[] post_start:@hook[]
            pre_stop:@hook[]""",
        "build": """
            context dockerfile dockerfile_inline entitlements:texts args:nullable provenance sbom
            ssh:ssh labels:labels cache_from:texts cache_to:texts no_cache:bool
            no_cache_filter:texts additional_contexts:pairs pull:bool extra_hosts:hosts isolation
            network target secrets:@granted[] shm_size:size tags:texts ulimits:ulimits
            platforms:texts privileged:bool""",
        "develop": "watch:@watch[]",
        "watch": "path action target exec:@hook include:texts ignore:texts initial_sync:bool",
        "hook": """
            command:command image user privileged:bool working_dir environment:nullable
            per_replica:bool""",
        "blkio": """
            weight:int weight_device:@weight[] device_read_bps:@rate[] device_read_iops:@rate[]
            device_write_bps:@rate[] device_write_iops:@rate[]""",
        "weight": "path weight:int",
        "rate": "path rate:size",
        "granted": "source target uid gid mode:mode",
        "credential": "config file registry",
        "dependency": "condition restart:bool required:bool?",
        "deploy": """
            mode replicas:int? labels:labels update_config:@update? rollback_config:@update?
            resources:@resources restart_policy:@restart? placement:@placement endpoint_mode""",
        "update": """
            parallelism:int? delay:time failure_action monitor:time max_failure_ratio:single
            order""",
        "resources": "limits:@resource? reservations:@resource?",
        "resource": """
            cpus:single memory:size pids:int devices:@request[] generic_resources:@generic[]""",
        "generic": "discrete_resource_spec:@discrete?",
        "discrete": "kind value:int?",
        "restart": "condition delay:time? max_attempts:int? window:time?",
        "placement": "constraints:texts preferences:@preference[] max_replicas_per_node:int",
        "preference": "spread",
        "device": "source target permissions",
        "request": "capabilities:texts driver count:count device_ids:texts options:pairs",
        "provider": "type options:many-options",
        "env_file": "path required:opt-out format",
        "extends": "file service",
        "healthcheck": """
            test:test timeout:time? interval:time? retries:int? start_period:time?
            start_interval:time? disable:bool""",
        "logging": "driver options:options",
        "service_model": "endpoint_var model_var",
        "service_network": """
            aliases:texts driver_opts:options gw_priority:int interface_name ipv4_address
            ipv6_address link_local_ips:texts mac_address priority:int""",
        "port": "name mode host_ip target:int published protocol app_protocol",
        "mount": """
            type source target read_only:bool consistency bind:@bind? volume:@mount_volume?
            tmpfs:@mount_tmpfs? image:@mount_image?""",
        "bind": "selinux propagation create_host_path:opt-out recursive",
        "mount_volume": "labels:pairs nocopy:bool subpath",
        "mount_tmpfs": "size:size mode:whole",
        "mount_image": "subpath",
        "network": """
            name driver driver_opts:options ipam:@ipam external:bool internal:bool attachable:bool
            labels:labels enable_ipv4:bool? enable_ipv6:bool?""",
        "ipam": "driver config:@pool[] options:options",
        "pool": "subnet gateway ip_range aux_addresses:pairs",
        "volume": "name driver driver_opts:options external:bool labels:labels",
        "file": """
            name file environment content external:bool labels:labels driver driver_opts:options
            template_driver""",
        "model": "name model context_size:int runtime_flags:texts",
    }.items()
}
