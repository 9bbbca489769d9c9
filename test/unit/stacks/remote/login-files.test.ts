import { describe, expect, test } from "bun:test";
import { withLogin } from "../../../../src/stacks/remote/login-files.ts";

const wishes = { hasProgram: (path: string) => path === "/bin/zsh", home: "/home/of/root", sshdUser: undefined };

describe("who may log in to an image", () => {
  test("an image without users gets root and OpenSSH's unprivileged one", () => {
    const { files, home } = withLogin({ passwd: "", shadow: undefined, shells: "" }, wishes);
    expect(home).toBe("/home/of/root");
    expect(files.passwd.split("\n")).toEqual([
      "root:*:0:0::/home/of/root:/bin/sh",
      "sshd:x:74:65534::/run/sshd:/usr/sbin/nologin",
      "",
    ]);
    expect(files.shells).toBe("/bin/sh\n");
  });

  test("root gets a shell that is there and stands in the list, and is locked no more", () => {
    const { files, home } = withLogin(
      {
        passwd:
          "bin:x:2:2::/bin:/usr/sbin/nologin\nroot:x:0:0::/root:/bin/bash\nsshd:x:992:65534::/run/sshd:/usr/sbin/nologin\n",
        shadow: "root:!unprovisioned:20779::::::\nbin:!*:20779::::::\n",
        shells: "/bin/dash\n",
      },
      wishes,
    );
    expect(home).toBe("/root");
    expect(files.passwd).toBe(
      "root:x:0:0::/root:/bin/sh\nbin:x:2:2::/bin:/usr/sbin/nologin\nsshd:x:992:65534::/run/sshd:/usr/sbin/nologin\n",
    );
    expect(files.shadow).toBe("root:*:20779::::::\nbin:!*:20779::::::\n");
    expect(files.shells).toBe("/bin/dash\n/bin/sh\n");
  });

  test("a password for the emergency shell and a shell that is there stay", () => {
    const { files } = withLogin(
      { passwd: "root:x:0:0::/root:/bin/zsh\n", shadow: "root:$y$hash:1::::::\n", shells: "/bin/zsh\n" },
      { ...wishes, sshdUser: "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin" },
    );
    expect(files).toEqual({
      passwd: "root:x:0:0::/root:/bin/zsh\nsshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n",
      shadow: "root:$y$hash:1::::::\n",
      shells: "/bin/zsh\n",
    });
  });
});
