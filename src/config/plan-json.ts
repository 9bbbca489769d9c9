import { printDeviceReference } from "./device-reference.ts";
import type { LuksPlan, Plan } from "./plan.ts";
import { printOrigin } from "./problems.ts";

/**
 * The plan for programs: what `--dry-run --json` prints. Names and units as in the report (snake case, milliseconds, devices
 * as in fstab); `schema` rises when a field changes its meaning.
 */
export function planToJson(plan: Plan) {
  return {
    schema: 1,
    enabled: plan.enabled,
    debug: plan.debug,
    prompt_after_ms: plan.promptAfter,
    device_timeout_ms: plan.deviceTimeout,
    member_timeout_ms: plan.memberTimeout,
    policy: {
      require_encrypted: plan.policy.requireEncrypted,
      allow_degraded: plan.policy.allowDegraded,
      seal_pcr_after_unlock: plan.policy.sealPcrAfterUnlock ?? null,
    },
    remote: plan.remote ?? null,
    volumes: plan.volumes.map((volume) => ({
      name: volume.name,
      kind: volume.kind,
      certainty: volume.certainty,
      devices: volume.devices.map(printDeviceReference),
      sources: volume.sources.map((source) => source.kind),
      is_root: volume.isRoot,
      require_encrypted: volume.requireEncrypted,
      on_demand: volume.isOnDemand ?? false,
      luks: volume.luks ? luksToJson(volume.luks) : null,
      origin: printOrigin(volume.origin),
    })),
    pools: plan.pools.map(({ name, volumes, origin }) => ({ name, volumes, origin: printOrigin(origin) })),
    root_mount:
      plan.rootMount === undefined
        ? null
        : {
            options: plan.rootMount.options,
            read_only: plan.rootMount.readOnly,
            subdirectory: plan.rootMount.subdirectory ?? null,
          },
    left_to_system: plan.leftToSystem.map(({ name, reason, origin }) => ({
      name,
      reason,
      origin: printOrigin(origin),
    })),
    warnings: plan.warnings,
  } as const;
}

function luksToJson(luks: LuksPlan) {
  return {
    opener: luks.opener,
    header: luks.header ?? null,
    key_slot: luks.keySlot ?? null,
    discard: luks.allowDiscards,
    readonly: luks.readOnly,
    open_options: luks.openOptions,
    tries: luks.tries ?? null,
    key_file_offset: luks.keyFileOffset ?? null,
    key_file_size: luks.keyFileSize ?? null,
    device_timeout_ms: luks.deviceTimeout ?? null,
    needs_network: luks.needsNetwork ?? false,
    may_fail: luks.mayFail ?? false,
  } as const;
}
