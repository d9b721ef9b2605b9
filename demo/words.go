package demo

// kind is a sort of product, with the price that its prices lie around.
type kind struct {
	noun  string
	price float64
}

// category is a department of the shop. The words of one category go together, so that its
// products are near each other and those of two others are not.
type category struct {
	name      string
	kinds     []kind
	materials []string
	traits    []string // before the noun
	features  []string // "with …"
	uses      []string // "for …"
}

var categories = []category{
	{"hiking", []kind{{"hiking boots", 140}, {"trail shoes", 110}, {"rain jacket", 160}, {"trekking poles", 60}, {"daypack", 75}, {"headlamp", 40}},
		[]string{"full-grain leather", "recycled nylon", "three-layer fabric", "carbon fibre"},
		[]string{"waterproof", "lightweight", "insulated", "breathable", "rugged"},
		[]string{"a grippy rubber sole", "taped seams", "a padded collar", "quick laces", "reflective piping"},
		[]string{"wet trails and long days in the mountains", "rocky ridges", "muddy forest paths", "fast day hikes"}},
	{"camping", []kind{{"two-person tent", 220}, {"family tent", 380}, {"sleeping bag", 130}, {"camping stove", 55}, {"sleeping mat", 70}, {"cool box", 90}},
		[]string{"ripstop polyester", "goose down", "aluminium", "recycled fleece"},
		[]string{"freestanding", "compact", "four-season", "ultralight", "easy-to-pitch"},
		[]string{"a roomy porch", "a wind-stable frame", "a stuff sack", "a piezo igniter", "a two-way zip"},
		[]string{"cold nights under the stars", "weekends by the lake", "festival summers", "long tours by bicycle"}},
	{"cycling", []kind{{"gravel bike", 1450}, {"city bike", 690}, {"bike helmet", 80}, {"pannier bag", 95}, {"bike light set", 45}, {"cycling gloves", 30}},
		[]string{"hydroformed aluminium", "chromoly steel", "moulded foam", "welded tarpaulin"},
		[]string{"fast", "upright", "aerodynamic", "sturdy", "bright"},
		[]string{"hydraulic disc brakes", "a belt drive", "a magnetic buckle", "puncture-proof tyres", "a USB charging port"},
		[]string{"the daily ride to work", "gravel roads and forest tracks", "rainy commutes", "long weekends on tour"}},
	{"kitchen", []kind{{"chef's knife", 85}, {"cast-iron pan", 70}, {"stand mixer", 320}, {"espresso machine", 480}, {"bread tin", 25}, {"mixing bowl set", 40}},
		[]string{"Damascus steel", "enamelled iron", "brushed stainless steel", "olive wood"},
		[]string{"razor-sharp", "heavy-duty", "non-stick", "professional", "quiet"},
		[]string{"a well-balanced handle", "an even heat base", "a pressure gauge", "a splash guard", "a pouring spout"},
		[]string{"slicing vegetables and herbs", "baking sourdough at home", "slow Sunday roasts", "a proper morning coffee"}},
	{"furniture", []kind{{"dining table", 590}, {"office chair", 340}, {"bookshelf", 210}, {"corner sofa", 1190}, {"bedside table", 95}, {"standing desk", 520}},
		[]string{"solid oak", "walnut veneer", "powder-coated steel", "linen"},
		[]string{"extendable", "ergonomic", "modular", "scratch-resistant", "slim"},
		[]string{"soft-close drawers", "lumbar support", "adjustable height", "hidden cable trays", "washable covers"},
		[]string{"small flats", "working from home", "large families", "reading corners"}},
	{"lighting", []kind{{"floor lamp", 150}, {"desk lamp", 70}, {"pendant light", 120}, {"string lights", 35}, {"night light", 20}, {"wall light", 85}},
		[]string{"mouth-blown glass", "brass", "rice paper", "anodised aluminium"},
		[]string{"dimmable", "warm-white", "glare-free", "adjustable", "battery-powered"},
		[]string{"a touch dimmer", "a swivel head", "a fabric cable", "a built-in timer", "three colour temperatures"},
		[]string{"reading in bed", "dinner with friends", "dark hallways", "evenings on the terrace"}},
	{"audio", []kind{{"wireless headphones", 190}, {"bookshelf speakers", 280}, {"turntable", 310}, {"earbuds", 110}, {"portable speaker", 95}, {"studio microphone", 160}},
		[]string{"birch plywood", "memory foam", "machined aluminium", "woven fabric"},
		[]string{"noise-cancelling", "open-backed", "belt-driven", "sweat-proof", "low-latency"},
		[]string{"thirty hours of battery", "deep clean bass", "a detachable cable", "a built-in preamp", "a cardioid capsule"},
		[]string{"long flights and noisy trains", "listening to vinyl at home", "recording podcasts", "running and the gym"}},
	{"photography", []kind{{"mirrorless camera", 1250}, {"portrait lens", 560}, {"camera bag", 120}, {"travel tripod", 150}, {"instant camera", 95}, {"wide-angle lens", 640}},
		[]string{"magnesium alloy", "optical glass", "waxed canvas", "carbon fibre"},
		[]string{"weather-sealed", "full-frame", "compact", "image-stabilised", "fast"},
		[]string{"eye-tracking autofocus", "a wide aperture", "padded dividers", "a ball head", "a tilting screen"},
		[]string{"portraits in soft light", "landscapes at dawn", "street photography", "wildlife and birds"}},
	{"garden", []kind{{"pruning shears", 35}, {"lawn mower", 340}, {"raised bed", 120}, {"watering can", 28}, {"garden bench", 240}, {"greenhouse", 690}},
		[]string{"untreated larch", "galvanised steel", "forged carbon steel", "toughened glass"},
		[]string{"cordless", "rust-proof", "weatherproof", "self-sharpening", "foldable"},
		[]string{"an ash handle", "a long spout", "a mulching blade", "a drip tray", "roof vents"},
		[]string{"growing tomatoes and herbs", "small balconies", "roses and fruit trees", "a lawn without noise"}},
	{"toys", []kind{{"building blocks", 45}, {"wooden train set", 65}, {"board game", 38}, {"puzzle", 22}, {"plush bear", 30}, {"science kit", 48}},
		[]string{"beech wood", "organic cotton", "recycled cardboard", "water-based paint"},
		[]string{"classic", "colourful", "cooperative", "educational", "cuddly"},
		[]string{"rounded edges", "illustrated rules", "one hundred pieces", "a storage box", "experiments for every week"},
		[]string{"children from three years", "rainy afternoons", "the whole family", "curious little scientists"}},
	{"clothing", []kind{{"merino sweater", 95}, {"denim jacket", 120}, {"linen shirt", 65}, {"wool coat", 260}, {"running tights", 70}, {"knitted scarf", 40}},
		[]string{"merino wool", "organic cotton", "washed linen", "recycled cashmere"},
		[]string{"soft", "relaxed", "tailored", "warm", "quick-drying"},
		[]string{"ribbed cuffs", "horn buttons", "deep pockets", "flat seams", "a stand-up collar"},
		[]string{"cold winter mornings", "hot summer days", "the office and the evening", "early runs in the park"}},
	{"office", []kind{{"mechanical keyboard", 130}, {"fountain pen", 75}, {"notebook", 18}, {"27-inch monitor", 390}, {"desk mat", 35}, {"webcam", 90}},
		[]string{"anodised aluminium", "wool felt", "thread-bound paper", "cork"},
		[]string{"quiet", "refillable", "colour-accurate", "hot-swappable", "minimal"},
		[]string{"tactile switches", "a fine steel nib", "dotted pages", "a single-cable dock", "a privacy shutter"},
		[]string{"writing all day", "video calls", "programmers", "sketching ideas"}},
	{"pets", []kind{{"dog bed", 70}, {"cat tree", 110}, {"dog lead", 28}, {"feeding bowl", 20}, {"bird feeder", 32}, {"aquarium", 180}},
		[]string{"washable fleece", "sisal rope", "glazed stoneware", "braided nylon"},
		[]string{"orthopaedic", "chew-proof", "tall", "non-slip", "hand-made"},
		[]string{"a removable cover", "three scratching posts", "a padded loop", "a bamboo stand", "a silent filter"},
		[]string{"older dogs", "indoor cats", "long walks in the rain", "small garden birds"}},
	{"bathroom", []kind{{"bath towel set", 55}, {"shower head", 60}, {"bathrobe", 80}, {"mirror cabinet", 190}, {"soap dispenser", 24}, {"laundry basket", 45}},
		[]string{"long-staple cotton", "chrome-plated brass", "bamboo", "waffle fabric"},
		[]string{"water-saving", "fluffy", "rainfall", "quick-drying", "wall-mounted"},
		[]string{"three spray patterns", "a hanging loop", "LED lighting", "a limescale-proof nozzle", "a cotton lining"},
		[]string{"slow mornings", "small bathrooms", "saunas and pools", "guests"}},
}

var (
	colours = []string{"black", "forest green", "sand", "navy", "rust red", "white", "slate grey", "ochre", "sky blue", "natural"}
	lines   = []string{"Alder", "Brisk", "Cove", "Drift", "Ember", "Fjell", "Glen", "Harbour", "Isle", "Juniper", "Kestrel", "Lumen",
		"Moor", "Nord", "Orchard", "Pine", "Quarry", "Ridge", "Sol", "Tarn"}
	brandHeads = []string{"Nor", "Kal", "Vel", "Tam", "Ost", "Bry", "Fen", "Lum", "Har", "Sol", "Mir", "Eld"}
	brandTails = []string{"vik", "dale", "mark", "wen", "stad", "ora", "ling", "by"}

	// intents are what a customer is up to, from looking around to the till.
	intents = []string{"browsing", "comparing", "looking for a gift", "nearly decided", "buying"}

	openings = []string{
		"%s in %s with %s.",
		"%s, made of %s, with %s.",
		"%s with %[3]s, crafted from %[2]s.",
	}
	closings = []string{
		"Made for %s.", "A favourite for %s.", "At its best for %s.", "Our pick for %s.",
	}
)
