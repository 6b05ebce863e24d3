-- Master, once per configuration: what every worker inherits.
xlb_generation_epoch = require("xlb.registry").next_epoch()
require("xlb.disk").load_all()
xlb = require("xlb.request")
-- Loaded here once and shared, not by each worker at its first call.
require("xlb.sync")
require("xlb.control")
