import networkService from "../../../initrd-hooks/dracut/latchkey-network.service" with { type: "text" };
import networkScript from "../../../initrd-hooks/dracut/latchkey-remote-network.sh" with { type: "text" };
import startScript from "../../../initrd-hooks/dracut/latchkey-remote-start.sh" with { type: "text" };
import sshdService from "../../../initrd-hooks/dracut/latchkey-sshd.service" with { type: "text" };
import networkdDropIn from "../../../initrd-hooks/dracut/networkd-latchkey.conf" with { type: "text" };

/** What the dracut module brings into the image for the SSH server, where there is to be one: by name in the module's folder. */
export const dracutRemoteFiles = [
  { name: "latchkey-network.service", text: networkService, mode: 0o644 },
  { name: "latchkey-sshd.service", text: sshdService, mode: 0o644 },
  { name: "networkd-latchkey.conf", text: networkdDropIn, mode: 0o644 },
  { name: "latchkey-remote-network.sh", text: networkScript, mode: 0o755 },
  { name: "latchkey-remote-start.sh", text: startScript, mode: 0o755 },
] as const;
