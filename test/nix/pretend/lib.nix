# A small stand-in for the part of nixpkgs' `lib` that an ordinary NixOS module
# uses, written from the documented behaviour of those functions, for places
# where nixpkgs cannot be had. It covers: options and the common types, nested
# and repeated definitions, mkIf / mkMerge / mkDefault / mkForce / mkBefore /
# mkAfter, submodules, type errors, unknown options, and conflicting values.
# It does not cover: freeform modules, disabledModules, option declarations
# spread over several modules for one path, documentation generation.
let
  b = builtins;
  inherit (b) attrNames attrValues concatLists concatMap concatStringsSep elem elemAt filter foldl'
    genList hasAttr head isAttrs isBool isFunction isInt isList isPath isString length listToAttrs
    mapAttrs replaceStrings sort stringLength substring tail toJSON fromJSON;

  # --- plain helpers -------------------------------------------------------
  nameValuePair = name: value: { inherit name value; };
  genAttrs = names: f: listToAttrs (map (n: nameValuePair n (f n)) names);
  optional = c: x: if c then [ x ] else [ ];
  optionals = c: l: if c then l else [ ];
  optionalString = c: s: if c then s else "";
  optionalAttrs = c: a: if c then a else { };
  filterAttrs = p: a: listToAttrs (concatMap (n: optional (p n a.${n}) (nameValuePair n a.${n})) (attrNames a));
  mapAttrsToList = f: a: map (n: f n a.${n}) (attrNames a);
  mapAttrs' = f: a: listToAttrs (mapAttrsToList f a);
  concatMapAttrs = f: a: foldl' (acc: x: acc // x) { } (mapAttrsToList f a);
  unique = foldl' (acc: x: if elem x acc then acc else acc ++ [ x ]) [ ];
  concatStrings = concatStringsSep "";
  concatMapStrings = f: l: concatStrings (map f l);
  concatMapStringsSep = s: f: l: concatStringsSep s (map f l);
  stringToCharacters = s: genList (i: substring i 1 s) (stringLength s);
  imap0 = f: l: genList (i: f i (elemAt l i)) (length l);
  hasPrefix = p: s: substring 0 (stringLength p) s == p;
  hasSuffix = x: s: let n = stringLength s; m = stringLength x; in n >= m && substring (n - m) m s == x;
  removePrefix = p: s: if hasPrefix p s then substring (stringLength p) (stringLength s) s else s;
  removeSuffix = x: s: if hasSuffix x s then substring 0 (stringLength s - stringLength x) s else s;
  escapeRegex = replaceStrings
    [ "\\" "[" "{" "(" ")" "^" "$" "?" "*" "+" "|" "." "]" "}" ]
    [ "\\\\" "\\[" "\\{" "\\(" "\\)" "\\^" "\\$" "\\?" "\\*" "\\+" "\\|" "\\." "\\]" "\\}" ];
  splitString = sep: s: filter isString (b.split (escapeRegex sep) s);
  # replaceStrings works on newlines too, which a regular expression would not
  hasInfix = x: s: x == "" || replaceStrings [ x ] [ "" ] s != s;
  flatten = x: if isList x then concatMap flatten x else [ x ];
  escapeShellArg = x: "'" + replaceStrings [ "'" ] [ "'\\''" ] (toString x) + "'";
  recursiveUpdate = a: c: a // mapAttrs (n: v: if isAttrs v && isAttrs (a.${n} or null) then recursiveUpdate a.${n} v else v) c;
  attrByPath = p: d: a: if p == [ ] then a else if isAttrs a && a ? ${head p} then attrByPath (tail p) d a.${head p} else d;
  isDerivation = x: isAttrs x && x.type or null == "derivation";
  versionAtLeast = v1: v2: b.compareVersions v1 v2 >= 0;

  # --- properties ----------------------------------------------------------
  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  mkOrder = priority: content: { _type = "order"; inherit priority content; };
  kind = v: if isAttrs v then v._type or "" else "";

  # A definition of an attribute set, with its properties pushed to the leaves,
  # so that the names it defines never depend on a condition.
  push = v: let k = kind v; in
    if k == "merge" then concatMap push v.contents
    else if k == "if" then map (mapAttrs (_: mkIf v.condition)) (push v.content)
    else if k == "override" then map (mapAttrs (_: mkOverride v.priority)) (push v.content)
    else if k == "order" then map (mapAttrs (_: mkOrder v.priority)) (push v.content)
    else [ v ];

  # A definition of an option, as a flat list of { value, prio, order }.
  discharge = v: let k = kind v; in
    if k == "merge" then concatMap discharge v.contents
    else if k == "if" then (if v.condition then discharge v.content else [ ])
    else if k == "override" then map (d: d // { prio = v.priority; }) (discharge v.content)
    else if k == "order" then map (d: d // { order = v.priority; }) (discharge v.content)
    else [ { value = v; prio = 100; order = 1000; } ];

  winners = defs:
    let low = foldl' (m: d: if d.prio < m then d.prio else m) 9999 defs;
    in map (d: d.value) (sort (x: y: x.order < y.order) (filter (d: d.prio == low) defs));

  at = loc: concatStringsSep "." loc;
  show = v: if isString v || isInt v || isBool v || v == null then toJSON v else "a ${b.typeOf v}";

  # Merge the raw definitions of one value of a given type.
  mergeAs = type: loc: raw:
    let
      vals = winners (concatMap discharge raw);
      bad = filter (v: !(type.check v)) vals;
    in
    if vals == [ ] then throw "option `${at loc}' is used but not defined"
    else if bad != [ ] then throw "definition of `${at loc}' is not of type ${type.name}: ${show (head bad)}"
    else type.merge loc vals;
  present = raw: concatMap discharge raw != [ ];

  same = loc: vals:
    if foldl' (ok: v: ok && v == head vals) true vals then head vals
    else throw "option `${at loc}' has conflicting definitions";
  mkType = a: { _type = "option-type"; merge = same; } // a;

  types = rec {
    raw = mkType { name = "raw value"; check = _: true; };
    unspecified = raw;
    anything = mkType {
      name = "anything"; check = _: true;
      merge = loc: vals:
        if b.all (v: isAttrs v && !isDerivation v) vals then
          let ds = concatMap push vals; in
          genAttrs (unique (concatMap attrNames ds)) (n: mergeAs anything (loc ++ [ n ]) (b.catAttrs n ds))
        else if b.all isList vals then concatLists vals
        else same loc vals;
    };
    attrs = mkType { name = "attribute set"; check = isAttrs; merge = _: foldl' (x: y: x // y) { }; };
    bool = mkType { name = "boolean"; check = isBool; };
    int = mkType { name = "signed integer"; check = isInt; };
    ints = {
      unsigned = mkType { name = "unsigned integer"; check = v: isInt v && v >= 0; };
      positive = mkType { name = "positive integer"; check = v: isInt v && v > 0; };
      between = lo: hi: mkType { name = "integer between ${toString lo} and ${toString hi}"; check = v: isInt v && v >= lo && v <= hi; };
      u8 = ints.between 0 255; u16 = ints.between 0 65535; u32 = ints.between 0 4294967295;
    };
    port = ints.u16;
    str = mkType { name = "string"; check = isString; };
    nonEmptyStr = mkType { name = "non-empty string"; check = v: isString v && b.match "[ \t\n]*" v == null; };
    singleLineStr = mkType { name = "single-line string"; check = v: isString v && !(hasInfix "\n" v); };
    strMatching = re: mkType { name = "string matching ${re}"; check = v: isString v && b.match re v != null; };
    separatedString = sep: mkType { name = "string"; check = isString; merge = _: concatStringsSep sep; };
    lines = separatedString "\n";
    commas = separatedString ",";
    path = mkType { name = "absolute path"; check = v: (isString v || isPath v || isDerivation v) && hasPrefix "/" (toString v); };
    package = mkType { name = "package"; check = v: isDerivation v || (isString v && hasPrefix b.storeDir v); };
    enum = vs: mkType { name = "one of ${toJSON vs}"; check = v: elem v vs; };
    functionTo = t: mkType { name = "function"; check = isFunction; };
    addCheck = t: f: t // { check = v: t.check v && f v; };
    nullOr = t: mkType {
      getSubOptions = t.getSubOptions or (_: { });
      name = "null or ${t.name}"; check = v: v == null || t.check v;
      merge = loc: vals: if b.all (v: v == null) vals then null else if elem null vals then throw "option `${at loc}' is both null and set" else t.merge loc vals;
    };
    either = x: y: mkType {
      name = "${x.name} or ${y.name}"; check = v: x.check v || y.check v;
      merge = loc: vals: if b.all x.check vals then x.merge loc vals else if b.all y.check vals then y.merge loc vals else throw "option `${at loc}' mixes kinds of value";
    };
    oneOf = ts: foldl' either (head ts) (tail ts);
    listOf = t: mkType {
      getSubOptions = prefix: (t.getSubOptions or (_: { })) (prefix ++ [ "*" ]);
      name = "list of ${t.name}"; check = isList;
      merge = loc: vals: concatMap (v: if present [ v ] then [ (mergeAs t (loc ++ [ "*" ]) [ v ]) ] else [ ]) (concatLists vals);
    };
    nonEmptyListOf = t: addCheck (listOf t) (l: l != [ ]);
    attrsOf = t: mkType {
      getSubOptions = prefix: (t.getSubOptions or (_: { })) (prefix ++ [ "<name>" ]);
      name = "attribute set of ${t.name}"; check = isAttrs;
      merge = loc: vals:
        let ds = concatMap push vals;
            names = filter (n: present (b.catAttrs n ds)) (unique (concatMap attrNames ds));
        in genAttrs names (n: mergeAs t (loc ++ [ n ]) (b.catAttrs n ds));
    };
    lazyAttrsOf = attrsOf;
    coercedTo = from: f: to: mkType {
      name = "${to.name} or ${from.name}"; check = v: from.check v || to.check v;
      merge = loc: vals: to.merge loc (map (v: if from.check v then f v else v) vals);
    };
    submodule = m: mkType {
      name = "submodule"; check = v: isAttrs v || isFunction v || isPath v;
      merge = loc: vals: (eval {
        prefix = loc;
        modules = (if isList m then m else [ m ]) ++ map (v: if isAttrs v then { config = v; } else v) vals;
        specialArgs.name = if loc == [ ] then "" else elemAt loc (length loc - 1);
      }).config;
      getSubOptions = prefix: (eval { inherit prefix; modules = if isList m then m else [ m ]; specialArgs.name = "<name>"; }).options;
    };
    submoduleWith = { modules, ... }: submodule modules;
  };

  # --- options -------------------------------------------------------------
  mkOption = a: { _type = "option"; } // a;
  mkEnableOption = what: mkOption { type = types.bool; default = false; description = "Whether to enable ${what}."; };
  mkPackageOption = pkgs: name: a: mkOption { type = types.package; default = pkgs.${name}; };

  # --- module evaluation ---------------------------------------------------
  eval = { modules, specialArgs ? { }, prefix ? [ ] }:
    let
      args = specialArgs // result.config._module.args or { } // { inherit lib; inherit (result) config options; };
      lazyArgs = f:
        let want = b.functionArgs f; in
        { inherit lib; inherit (result) config options; } // specialArgs
        // mapAttrs (n: _: specialArgs.${n} or (if n == "lib" then lib else if n == "config" then result.config else if n == "options" then result.options else args.${n})) want;
      load = m:
        let v = if isPath m || isString m then import m else m;
            r = if isFunction v then v (lazyArgs v) else v;
            structured = r ? config || r ? options;
        in concatMap load (r.imports or [ ])
          ++ [ (if structured then { options = r.options or { }; config = r.config or { }; } else { options = { }; config = removeAttrs r [ "imports" "meta" "_file" "key" ]; }) ];
      loaded = concatMap load modules;
      joinOptions = loc: trees:
        genAttrs (unique (concatMap attrNames trees)) (n:
          let vs = b.catAttrs n trees; leaf = filter (v: kind v == "option") vs; in
          if leaf == [ ] then joinOptions (loc ++ [ n ]) vs
          else if length vs > 1 then throw "option `${at (loc ++ [ n ])}' is declared twice" else head vs);
      tree = joinOptions prefix (map (m: m.options) loaded ++ optional (prefix == [ ]) { _module.args = mkOption { type = types.attrsOf types.raw; default = { }; }; });
      walk = loc: opts: defs:
        let unknown = filter (n: !(opts ? ${n})) (unique (concatMap attrNames defs)); in
        if unknown != [ ] then throw "the option `${at (loc ++ [ (head unknown) ])}' does not exist"
        else mapAttrs (n: o:
          let here = loc ++ [ n ]; raw = b.catAttrs n defs; in
          if kind o == "option" then
            (o.apply or (x: x)) (mergeAs (o.type or types.raw) here (raw ++ optional (o ? default) (mkOverride 1500 o.default)))
          else walk here o (concatMap push raw)) opts;
      result = {
        options = tree;
        config = walk prefix tree (concatMap (m: push m.config) loaded);
      };
    in result;

  lib = {
    inherit attrNames attrValues concatLists concatMap concatStringsSep elem elemAt filter foldl' genList hasAttr head
      isAttrs isBool isFunction isInt isList isPath isString length listToAttrs mapAttrs replaceStrings sort stringLength
      substring tail toJSON fromJSON;
    inherit (b) all any catAttrs functionArgs intersectAttrs match removeAttrs seq deepSeq split toString trace;
    inherit nameValuePair genAttrs optional optionals optionalString optionalAttrs filterAttrs mapAttrsToList mapAttrs'
      concatMapAttrs unique concatStrings concatMapStrings concatMapStringsSep stringToCharacters imap0 hasPrefix hasSuffix
      removePrefix removeSuffix splitString hasInfix flatten escapeShellArg recursiveUpdate attrByPath isDerivation versionAtLeast;
    inherit mkIf mkMerge mkOverride mkOrder mkOption mkEnableOption mkPackageOption types;
    mkDefault = mkOverride 1000; mkForce = mkOverride 50; mkOptionDefault = mkOverride 1500; mkVMOverride = mkOverride 10;
    mkBefore = mkOrder 500; mkAfter = mkOrder 1500;
    mkAssert = c: m: v: if c then v else throw m;
    evalModules = eval;
    assertMsg = c: m: if c then true else throw m;
    literalExpression = text: { _type = "literalExpression"; inherit text; };
    literalMD = text: { _type = "literalMD"; inherit text; };
    versionOlder = v1: v2: b.compareVersions v1 v2 < 0;
    escapeShellArgs = concatMapStringsSep " " escapeShellArg;
    last = l: elemAt l (length l - 1);
    init = l: genList (elemAt l) (length l - 1);
    imap1 = f: imap0 (i: f (i + 1));
    range = lo: hi: if lo > hi then [ ] else genList (i: lo + i) (hi - lo + 1);
    findFirst = p: d: l: let r = filter p l; in if r == [ ] then d else head r;
    subtractLists = e: filter (x: !(elem x e));
    hasAttrByPath = p: a: attrByPath p null a != null;
    concatLines = concatMapStrings (l: l + "\n");
    boolToString = v: if v then "true" else "false";
    toLower = replaceStrings (stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (stringToCharacters "abcdefghijklmnopqrstuvwxyz");
    getBin = p: p.bin or p;
    getExe = p: "${p.bin or p}/bin/${p.meta.mainProgram or p.pname}";
    getExe' = p: n: "${p.bin or p}/bin/${n}";
    makeBinPath = concatMapStringsSep ":" (p: "${p}/bin");
    version = "26.05";
    groupBy = b.groupBy;
    importJSON = p: fromJSON (b.readFile p);
    fileContents = p: removeSuffix "\n" (b.readFile p);
    pipe = foldl' (x: f: f x);
    flip = f: x: y: f y x;
    const = x: _: x;
    id = x: x;
    systems.flakeExposed = [ "x86_64-linux" "aarch64-linux" ];
    licenses = genAttrs [ "mit" "asl20" "gpl2Only" "gpl3Only" "gpl3Plus" "mpl20" "bsd3" ] (n: { shortName = n; });
    maintainers = { };
    sourceTypes = { fromSource = "source"; binaryNativeCode = "binary"; };
    platforms.linux = [ "x86_64-linux" "aarch64-linux" ];
  };
in
lib
