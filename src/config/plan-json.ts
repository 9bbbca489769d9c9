import { printDeviceReference } from "./device-reference.ts";
import type { Plan } from "./plan.ts";
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
    volumes: plan.volumes.map((volume) => ({
      name: volume.name,
      kind: volume.kind,
      certainty: volume.certainty,
      devices: volume.devices.map(printDeviceReference),
      sources: volume.sources.map((source) => source.kind),
      is_root: volume.isRoot,
      require_encrypted: volume.requireEncrypted,
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
